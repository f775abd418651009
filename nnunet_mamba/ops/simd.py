"""Sixteen float32 lanes for Numba: LLVM's vector type with the few operations that the scan needs.

Numba's own loops are vectorised only where LLVM sees through them; around an exponential it does not. Naming the vector type
makes every operation below one instruction on AVX-512, two on AVX2 and four on NEON.
"""

import math

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

LANES = 16
_F32 = ir.FloatType()
_I32 = ir.IntType(32)
_VECTOR = ir.VectorType(_F32, LANES)
_INTEGERS = ir.VectorType(_I32, LANES)
# 2^f = sum of c_i f^i on [-1/2, 1/2]: ln(2)^i / i!, enough terms for float32's last digit
_EXP2_TERMS = [math.log(2) ** i / math.factorial(i) for i in range(8)]


class _Lanes(types.Type):
    def __init__(self):
        super().__init__(name="float32x16")


lanes = _Lanes()


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, numba_type):
        super().__init__(manager, numba_type, _VECTOR)


def _constant(value):
    return ir.Constant(_VECTOR, [value] * LANES)


def _splat(builder, scalar):
    one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(_I32, 0))
    return builder.shuffle_vector(one, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INTEGERS, [0] * LANES))


def _pointer(context, builder, array_type, array, index):
    data = cgutils.create_struct_proxy(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@intrinsic
def load(typing_context, array, index):
    """The 16 values of a flat float32 array from `index` on."""

    def generate(context, builder, signature, args):
        return builder.load(_pointer(context, builder, signature.args[0], *args), align=4)

    return lanes(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, vector):
    """Write 16 values into a flat float32 array from `index` on."""

    def generate(context, builder, signature, args):
        builder.store(args[2], _pointer(context, builder, signature.args[0], *args[:2]), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), generate


@intrinsic
def splat(typing_context, scalar):
    """One value in all lanes."""

    def generate(context, builder, signature, args):
        return _splat(builder, args[0])

    return lanes(types.float32), generate


def _binary(operation, doc):
    def typed(typing_context, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, operation)(*args)

        return lanes(lanes, lanes), generate

    typed.__doc__ = doc
    typed.__name__ = operation
    return intrinsic(typed)


add = _binary("fadd", "a + b")
mul = _binary("fmul", "a * b")


def _call(builder, name, *args):
    """LLVM's intrinsic `name` on vectors."""
    signature = ir.FunctionType(_VECTOR, [_VECTOR] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, f"llvm.{name}.v{LANES}f32"), args)


@intrinsic
def fma(typing_context, a, b, c):
    """a * b + c"""

    def generate(context, builder, signature, args):
        return _call(builder, "fma", *args)

    return lanes(lanes, lanes, lanes), generate


@intrinsic
def sum_lanes(typing_context, vector):
    """The sum of the lanes."""

    def generate(context, builder, signature, args):
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32, _VECTOR]), name)
        return builder.call(function, [ir.Constant(_F32, -0.0), args[0]], fastmath=("reassoc",))

    return types.float32(lanes), generate


@intrinsic
def exp2(typing_context, vector):
    """2^x to the last digit or two; 0 below -126 (where float32 has only denormals), infinity from 128 on."""

    def generate(context, builder, signature, args):
        (x,) = args
        inside = _call(builder, "minnum", _call(builder, "maxnum", x, _constant(-126.0)), _constant(128.0))
        whole = _call(builder, "rint", inside)
        fraction = builder.fsub(inside, whole)
        power = _constant(_EXP2_TERMS[-1])
        for term in reversed(_EXP2_TERMS[:-1]):
            power = _call(builder, "fma", power, fraction, _constant(term))
        exponent = builder.add(builder.fptosi(whole, _INTEGERS), ir.Constant(_INTEGERS, [127] * LANES))
        scale = builder.bitcast(builder.shl(exponent, ir.Constant(_INTEGERS, [23] * LANES)), _VECTOR)
        value = builder.fmul(power, scale)
        return builder.select(builder.fcmp_ordered("<", x, _constant(-126.0)), _constant(0.0), value)

    return lanes(lanes), generate
