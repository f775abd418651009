"""Sixteen float32 lanes as one Numba value: an LLVM vector, its arithmetic, and the few functions that a scan needs.

LLVM splits the vector on machines with narrower registers, so nothing here is specific to AVX-512. Exponentials and
logarithms are polynomials on the whole vector: by default LLVM calls the C library once per lane.

Numba's disk cache of the kernels does not see changes in this file. After editing it, touch the files of the
kernels: _cpu_forward.py, _cpu_backward.py, _cpu_projected.py, _cpu_depthwise.py and _cpu_layer_norm.py.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

from nnunet_mamba.ops._cpu_scratch import LANES

LOG2_E = 1.4426950408889634
_LOG2_E_REST = LOG2_E - 1.4426950216293335  # what rounding to float32 leaves out

_FLOAT = ir.FloatType()
_INT = ir.IntType(32)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INT_VECTOR = ir.VectorType(_INT, LANES)

# (2^f - 1) / f on [-0.5, 0.5]: relative error of 2^f below 1e-7, exact at f = 0 so that decays next to 1 do not drift
_EXP2 = (0.6931469775976778, 0.24022242083110548, 0.055507337444716705, 0.00967151278585768, 0.0013264727252679182)
# log(1 + e) / e on [0, 1]: relative error below 5e-9, so that small e are kept. One division less than with fewer terms
_LOG1P = (
    1.0, -0.4999990165233612, 0.3332996368408203, -0.24954134225845337, 0.1967593878507614, -0.15305592119693756,
    0.10603655129671097, -0.05695953592658043, 0.01985146291553974, -0.0032440251670777798,
)  # fmt: skip
CHAINS = 8  # sums in flight in `add_products`: enough to hide the latency of an addition
# adding it rounds to an integer, and leaves that integer plus the exponent bias in the low bits
_ROUND = 1.5 * 2**23 + 127


class Lanes(types.Type):
    def __init__(self):
        super().__init__("Lanes")


lanes = Lanes()


@register_model(Lanes)
class _LanesModel(PrimitiveModel):
    def __init__(self, dmm, fe_type):
        super().__init__(dmm, fe_type, _VECTOR)


def _constant(value):
    return ir.Constant(_VECTOR, [value] * LANES)


def _splat(builder, value):
    single = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), value, ir.Constant(_INT, 0))
    return builder.shuffle_vector(single, ir.Constant(_VECTOR, ir.Undefined), ir.Constant(_INT_VECTOR, [0] * LANES))


def _fma(builder, a, b, c):
    signature = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, "llvm.fmuladd.v16f32"), [a, b, c])


def _select(builder, relation, a, b):
    """a where a `relation` b, otherwise b: the form that becomes one max or min instruction."""
    return builder.select(builder.fcmp_ordered(relation, a, b), a, b)


def _polynomial(builder, x, coefficients):
    result = _constant(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = _fma(builder, result, x, _constant(coefficient))
    return result


def _has_avx512dq(context):
    return "+avx512dq" in context.codegen().magic_tuple()[2].split(",")


def _exp2(context, builder, x):
    """2^x; 0 below -126.5 and infinity above 127.5, where the biased exponent ends (AVX-512: where float32 ends)."""
    if _has_avx512dq(context):  # x - round(x), and times a power of two, in one instruction each
        mask, rounding = ir.IntType(16), ir.Constant(_INT, 4)
        every = ir.Constant(mask, -1)
        reduce_type = ir.FunctionType(_VECTOR, [_VECTOR, _INT, _VECTOR, mask, _INT])
        reduce = cgutils.get_or_insert_function(builder.module, reduce_type, "llvm.x86.avx512.mask.reduce.ps.512")
        fraction = builder.call(reduce, [x, ir.Constant(_INT, 0), _constant(0.0), every, rounding])
        mantissa = _polynomial(builder, fraction, (1.0, *_EXP2))
        scale_type = ir.FunctionType(_VECTOR, [_VECTOR, _VECTOR, _VECTOR, mask, _INT])
        scale = cgutils.get_or_insert_function(builder.module, scale_type, "llvm.x86.avx512.mask.scalef.ps.512")
        return builder.call(scale, [mantissa, builder.fsub(x, fraction), _constant(0.0), every, rounding])
    x = _select(builder, ">", x, _constant(-127.0))
    x = _select(builder, "<", x, _constant(128.0))
    shifted = builder.fadd(x, _constant(_ROUND))
    fraction = builder.fsub(x, builder.fsub(shifted, _constant(_ROUND)))
    mantissa = _polynomial(builder, fraction, (1.0, *_EXP2))
    exponent = builder.shl(builder.bitcast(shifted, _INT_VECTOR), ir.Constant(_INT_VECTOR, [23] * LANES))
    return builder.fmul(mantissa, builder.bitcast(exponent, _VECTOR))


def _pointer(context, builder, array_type, array, index):
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def _load(builder, pointer):
    return builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, _VECTOR.as_pointer()), align=4)


def _shuffle(builder, a, b, indices):
    return builder.shuffle_vector(a, b, ir.Constant(_INT_VECTOR, indices))


def _transpose(builder, rows):
    """16 vectors of 16, transposed by swapping off-diagonal blocks of 8, 4, 2 and 1."""
    for width in (8, 4, 2, 1):
        rows = _swap(builder, rows, width, width)
    return rows


def _swap(builder, rows, width, distance):
    """Exchange every second block of `width` lanes with the block before it in the row `distance` further down."""
    low = [j if j & width == 0 else j - width + LANES for j in range(LANES)]
    high = [j + width if j & width == 0 else j + LANES for j in range(LANES)]
    swapped = list(rows)
    for i in range(len(rows)):
        if i & distance == 0:
            swapped[i] = _shuffle(builder, rows[i], rows[i + distance], low)
            swapped[i + distance] = _shuffle(builder, rows[i], rows[i + distance], high)
    return swapped


def _merge(builder, rows, widths):
    """One vector for all rows, by halving.

    Each row is summed over the bits of its lanes' numbers that `widths` names. These bits then tell the rows apart.
    """
    for width in widths:
        kept = [j if j & width == 0 else j + LANES for j in range(LANES)]
        crossed = [j + width if j & width == 0 else j - width + LANES for j in range(LANES)]
        half = len(rows) // 2
        pairs = [(rows[i], rows[i + half]) for i in range(half)]
        rows = [builder.fadd(_shuffle(builder, a, b, kept), _shuffle(builder, a, b, crossed)) for a, b in pairs]
    return rows[0]


@intrinsic
def splat(typingctx, value):
    """Every lane the same float32."""

    def codegen(context, builder, signature, args):
        return _splat(builder, context.cast(builder, args[0], signature.args[0], types.float32))

    return lanes(value), codegen


@intrinsic
def load(typingctx, array, index):
    """array[index : index + 16]."""

    def codegen(context, builder, signature, args):
        return _load(builder, _pointer(context, builder, signature.args[0], *args))

    return lanes(array, types.intp), codegen


@intrinsic
def prefetch(typingctx, array, index):
    """Bring array[index] into the caches. Outside the array it does nothing."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        fetch = ir.FunctionType(ir.VoidType(), [byte, _INT, _INT, _INT])
        pointer = builder.bitcast(_pointer(context, builder, signature.args[0], *args), byte)
        read, keep, data = (ir.Constant(_INT, value) for value in (0, 2, 1))
        builder.call(
            cgutils.get_or_insert_function(builder.module, fetch, "llvm.prefetch.p0i8"), [pointer, read, keep, data]
        )
        return context.get_dummy_value()

    return types.void(array, types.intp), codegen


@intrinsic
def broadcast(typingctx, array, index, apart):
    """array[index + apart[e]] in every lane of batch entry e: equal shares of the lanes, for as many as `apart` has."""

    def codegen(context, builder, signature, args):
        array, index, apart = args
        entries = signature.args[2].count
        result = None
        for entry in range(entries):
            at = builder.add(index, builder.extract_value(apart, entry)) if entries > 1 else index
            value = _splat(builder, builder.load(_pointer(context, builder, signature.args[0], array, at)))
            lanes_so_far = LANES // entries * entry
            indices = [i if i < lanes_so_far else i + LANES for i in range(LANES)]
            result = value if result is None else _shuffle(builder, result, value, indices)
        return result

    return lanes(array, types.intp, apart), codegen


@intrinsic
def store(typingctx, array, index, value):
    """array[index : index + 16] = value."""

    def codegen(context, builder, signature, args):
        _store(builder, args[2], _pointer(context, builder, signature.args[0], *args[:2]))
        return context.get_dummy_value()

    return types.void(array, types.intp, value), codegen


@intrinsic
def fma(typingctx, a, b, c):
    """a * b + c."""
    return lanes(a, b, c), lambda context, builder, signature, args: _fma(builder, *args)


@intrinsic
def sqrt(typingctx, x):
    def codegen(context, builder, signature, args):
        root = ir.FunctionType(_VECTOR, [_VECTOR])
        return builder.call(cgutils.get_or_insert_function(builder.module, root, "llvm.sqrt.v16f32"), args)

    return lanes(x), codegen


@intrinsic
def exp2(typingctx, x):
    return lanes(x), lambda context, builder, signature, args: _exp2(context, builder, args[0])


@intrinsic
def flush_denormals(typingctx):
    """Make this thread's float32 underflow to 0, as a decay to nothing should: denormals cost a hundred cycles each.

    Returns what `restore_denormals` takes. Does nothing on machines other than x86.
    """
    return types.uint32(), lambda context, builder, signature, args: _control(context, builder, None)


@intrinsic
def restore_denormals(typingctx, control):
    return types.uint32(types.uint32), lambda context, builder, signature, args: _control(context, builder, args[0])


def _control(context, builder, value):
    """Set x86's floating point control word, by default to flush denormals. Returns the old word."""
    if not context.codegen().magic_tuple()[0].startswith("x86_64"):
        return ir.Constant(_INT, 0)
    slot = cgutils.alloca_once(builder, _INT)
    access = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    pointer = builder.bitcast(slot, ir.IntType(8).as_pointer())
    builder.call(cgutils.get_or_insert_function(builder.module, access, "llvm.x86.sse.stmxcsr"), [pointer])
    before = builder.load(slot)
    builder.store(builder.or_(before, ir.Constant(_INT, 0x8040)) if value is None else value, slot)
    builder.call(cgutils.get_or_insert_function(builder.module, access, "llvm.x86.sse.ldmxcsr"), [pointer])
    return before


@intrinsic
def softplus_and_slope(typingctx, x):
    """log(1 + e^x) and its derivative, both from e^-|x|: neither end of the range loses digits."""
    pair = types.UniTuple(lanes, 2)

    def codegen(context, builder, signature, args):
        (x,) = args
        positive = builder.fcmp_ordered(">", x, _constant(0.0))
        negated = builder.fsub(_constant(-0.0), x)
        # The rounding of x log2(e) is put back through the remainder: e^x must hold its digits at x = -80, too.
        minus = builder.select(positive, negated, x)
        scaled = builder.fmul(minus, _constant(LOG2_E))
        remainder = _fma(builder, minus, _constant(LOG2_E), builder.fsub(_constant(-0.0), scaled))
        remainder = _fma(builder, minus, _constant(_LOG2_E_REST), remainder)
        power = _exp2(context, builder, scaled)
        power = _fma(builder, builder.fmul(power, remainder), _constant(1 / LOG2_E), power)
        logarithm = builder.fmul(power, _polynomial(builder, power, _LOG1P))
        value = builder.fadd(logarithm, builder.select(positive, x, _constant(0.0)))
        slope = builder.fdiv(builder.select(positive, _constant(1.0), power), builder.fadd(power, _constant(1.0)))
        return context.make_tuple(builder, signature.return_type, [value, slope])

    return pair(x), codegen


@intrinsic
def spread(typingctx, source, start, lane_offsets, step_of, offset, first, panel, column, width):
    """panel[row(j), column + i] = source[start + lane_offsets[i] + j] for 16 positions j and lanes i.

    row(j) = step_of[offset + j] - first. Rows of the panel have `width` floats.
    """

    def codegen(context, builder, signature, args):
        source, start, lane_offsets, step_of, offset, first, panel, column, width = args
        starts = _lane_starts(context, builder, signature.args[2], lane_offsets, start)
        rows = [_load(builder, _pointer(context, builder, signature.args[0], source, at)) for at in starts]
        targets = _row_starts(context, builder, signature.args[3], step_of, offset, first, column, width)
        _store_rows(context, builder, signature.args[6], panel, targets, _transpose(builder, rows))
        return context.get_dummy_value()

    size = types.intp
    return types.void(source, size, lane_offsets, step_of, size, size, panel, size, size), codegen


def _collect(add):
    @intrinsic
    def collect(typingctx, panel, column, width, step_of, offset, first, target, start, lane_offsets):
        def codegen(context, builder, signature, args):
            panel, column, width, step_of, offset, first, target, start, lane_offsets = args
            sources = _row_starts(context, builder, signature.args[3], step_of, offset, first, column, width)
            rows = [_load(builder, _pointer(context, builder, signature.args[0], panel, source)) for source in sources]
            rows = _transpose(builder, rows)
            starts = _lane_starts(context, builder, signature.args[8], lane_offsets, start)
            if add:  # all are read before one is written: repeated lanes must not add twice
                kept = [_load(builder, _pointer(context, builder, signature.args[6], target, at)) for at in starts]
                rows = [builder.fadd(old, row) for old, row in zip(kept, rows, strict=True)]
            # a repeated lane comes after the lane that it repeats: that one is written last
            _store_rows(context, builder, signature.args[6], target, starts[::-1], rows[::-1])
            return context.get_dummy_value()

        size = types.intp
        return types.void(panel, size, size, step_of, size, size, target, size, lane_offsets), codegen

    return collect


# target[start + lane_offsets[i] + j] = or += panel[row(j), column + i]: `spread` the other way round
collect, collect_onto = _collect(add=False), _collect(add=True)


def _lane_starts(context, builder, array_type, lane_offsets, start):
    offsets = (ir.Constant(start.type, i) for i in range(LANES))
    return [builder.add(start, builder.load(_pointer(context, builder, array_type, lane_offsets, i))) for i in offsets]


def _store_rows(context, builder, array_type, target, starts, rows):
    for start, row in zip(starts, rows, strict=True):
        _store(builder, row, _pointer(context, builder, array_type, target, start))


def _strided(builder, start, stride, number):
    return [builder.add(start, builder.mul(stride, ir.Constant(stride.type, i))) for i in range(number)]


def _row_starts(context, builder, array_type, step_of, offset, first, column, width):
    """Where the rows of 16 positions start in a panel."""
    starts = []
    for j in range(LANES):
        index = builder.add(offset, ir.Constant(offset.type, j))
        row = builder.sub(builder.load(_pointer(context, builder, array_type, step_of, index)), first)
        starts.append(builder.add(column, builder.mul(row, width)))
    return starts


@intrinsic
def group_sums(typingctx, x, of_group):
    """In every lane, the sum of the lanes of its group: as many neighbours as the tuple `of_group` has items."""

    def codegen(context, builder, signature, args):
        total, width = args[0], 1
        while width < signature.args[1].count:
            total = builder.fadd(total, _shuffle(builder, total, total, [j ^ width for j in range(LANES)]))
            width *= 2
        return total

    return lanes(x, of_group), codegen


@intrinsic
def merge_near(typingctx, a, b, c, d):
    """Lane 4 i + n of the result is the sum of lanes 4 i to 4 i + 3 of the n-th vector."""
    return lanes(a, b, c, d), lambda context, builder, signature, args: _merge(builder, args, (2, 1))


@intrinsic
def merge_far(typingctx, array, index, stride, apart):
    """For each batch entry e, a vector: lane 4 i + n is a sum over row i, array[index + i stride : ... + 16], i < 4.

    It sums the row's lanes n, n + 4, n + 8 and so on that belong to e. After `merge_near` of each: the sum of all lanes
    of its n-th vector that belong to e.
    """

    def codegen(context, builder, signature, args):
        array, index, stride, _ = args
        starts = _strided(builder, index, stride, 4)
        rows = [_load(builder, _pointer(context, builder, signature.args[0], array, start)) for start in starts]
        if entries == 1:
            sums = [_merge(builder, rows, (8, 4))]
        else:  # fours of lanes: row 0 or 2, row 1 or 3; for the first entry, then for the second
            one, two = _merge(builder, rows[:2], (4,)), _merge(builder, rows[2:], (4,))
            sums = [_shuffle(builder, one, two, [*range(e, e + 8), *range(e + LANES, e + LANES + 8)]) for e in (0, 8)]
        return context.make_tuple(builder, signature.return_type, sums)

    entries = apart.count
    return types.UniTuple(lanes, entries)(array, types.intp, types.intp, apart), codegen


@intrinsic
def lane_dots(typingctx, first, second, index, apart, first_rows, second_rows, row, width):
    """One lane for channel d of batch entry e: the product of 16 floats with the channel's 16 weights, of two arrays.

    The floats start at array[index + apart[e]], the weights at rows[row + d width].
    """

    def codegen(context, builder, signature, args):
        first, second, index, apart, first_rows, second_rows, row, width = args
        entries = signature.args[3].count
        weights = _strided(builder, row, width, LANES // entries)
        products = []
        for entry in range(entries):
            at = builder.add(index, builder.extract_value(apart, entry))
            one = _load(builder, _pointer(context, builder, signature.args[0], first, at))
            two = _load(builder, _pointer(context, builder, signature.args[1], second, at))
            for start in weights:
                weight = _load(builder, _pointer(context, builder, signature.args[4], first_rows, start))
                other = _load(builder, _pointer(context, builder, signature.args[5], second_rows, start))
                products.append(_fma(builder, one, weight, builder.fmul(two, other)))
        return _merge(builder, products, (8, 4, 2, 1))

    size = types.intp
    return lanes(first, second, size, apart, first_rows, second_rows, size, size), codegen


@intrinsic
def add_fours(typingctx, source, index, target, start, stride):
    """target[start + i stride + 4 n + j] += source[index + 16 n + 4 i + j] for i, n and j below 4."""

    def codegen(context, builder, signature, args):
        source, index, target, start, stride = args
        fours = _strided(builder, index, ir.Constant(index.type, LANES), 4)
        rows = [_load(builder, _pointer(context, builder, signature.args[0], source, four)) for four in fours]
        for width in (8, 4):
            rows = _swap(builder, rows, width, width // 4)
        for at, row in zip(_strided(builder, start, stride, 4), rows, strict=True):
            pointer = _pointer(context, builder, signature.args[2], target, at)
            _store(builder, builder.fadd(_load(builder, pointer), row), pointer)
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp, types.intp), codegen


@intrinsic
def add_products(typingctx, first, start, step, second, at, stride, size, shifts, sums, to, apart):
    """For each shift: sums[to + i apart : ... + 16] += the sum of `size` products of a vector of each array.

    The n-th vectors start at first[start + n step + shifts[i]] and second[at + n stride]. i numbers the shifts.
    """

    def codegen(context, builder, signature, args):
        first, start, step, second, at, stride, size, shifts, sums, to, apart = args
        number = signature.args[7].count
        starts = [builder.add(start, builder.extract_value(shifts, i)) for i in range(number)]
        chains = max(1, CHAINS // number)
        slots = [[cgutils.alloca_once_value(builder, _constant(0.0)) for _ in starts] for _ in range(chains)]
        for slot in (slot for chain in slots for slot in chain):  # in a loop, the entry block's zeros are used up
            builder.store(_constant(0.0), slot)

        def add(n, chain):
            vector = _load(
                builder, _pointer(context, builder, signature.args[3], second, _along(builder, at, n, stride))
            )
            for slot, begin in zip(chain, starts, strict=True):
                pointer = _pointer(context, builder, signature.args[0], first, _along(builder, begin, n, step))
                builder.store(_fma(builder, _load(builder, pointer), vector, builder.load(slot)), slot)

        several = ir.Constant(size.type, chains)
        rounds = builder.sdiv(size, several)
        with cgutils.for_range(builder, rounds) as loop:
            for i, chain in enumerate(slots):
                add(builder.add(builder.mul(loop.index, several), ir.Constant(size.type, i)), chain)
        done = builder.mul(rounds, several)
        with cgutils.for_range(builder, builder.sub(size, done)) as loop:
            add(builder.add(done, loop.index), slots[0])
        for target, parts in zip(_strided(builder, to, apart, number), zip(*slots, strict=True), strict=True):
            pointer = _pointer(context, builder, signature.args[8], sums, target)
            total = _load(builder, pointer)
            for part in parts:
                total = builder.fadd(total, builder.load(part))
            _store(builder, total, pointer)
        return context.get_dummy_value()

    size = types.intp
    return types.void(first, size, size, second, size, size, size, shifts, sums, size, size), codegen


@intrinsic
def add_shifted(typingctx, source, start, step, shifts, weights, at, apart, target, to, stride, size):
    """Each of `size` vectors of the target += the sum over shifts of a weight times a vector of the source.

    The n-th vectors start at target[to + n stride] and source[start + n step + shifts[i]]; i numbers the shifts. The
    weights start at weights[at + i apart].
    """

    def codegen(context, builder, signature, args):
        source, start, step, shifts, weights, at, apart, target, to, stride, size = args
        number = signature.args[3].count
        starts = [builder.add(start, builder.extract_value(shifts, i)) for i in range(number)]
        factors = [
            _load(builder, _pointer(context, builder, signature.args[4], weights, weight))
            for weight in _strided(builder, at, apart, number)
        ]
        with cgutils.for_range(builder, size) as loop:
            goal = _pointer(context, builder, signature.args[7], target, _along(builder, to, loop.index, stride))
            total = _load(builder, goal)
            for begin, factor in zip(starts, factors, strict=True):
                here = _along(builder, begin, loop.index, step)
                vector = _load(builder, _pointer(context, builder, signature.args[0], source, here))
                total = _fma(builder, vector, factor, total)
            _store(builder, total, goal)
        return context.get_dummy_value()

    size = types.intp
    return types.void(source, size, size, shifts, weights, size, size, target, size, size, size), codegen


def _along(builder, start, number, stride):
    return builder.add(start, builder.mul(number, stride))


def _binary(operation, emit):
    @intrinsic
    def apply(typingctx, a, b):
        return lanes(a, b), lambda context, builder, signature, args: emit(builder, *args)

    @overload(operation)
    def _(a, b):
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: apply(a, b)
        return None


_binary(operator.add, lambda builder, a, b: builder.fadd(a, b))
_binary(operator.sub, lambda builder, a, b: builder.fsub(a, b))
_binary(operator.mul, lambda builder, a, b: builder.fmul(a, b))
_binary(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))
