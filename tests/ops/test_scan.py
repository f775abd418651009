"""Every engine against the float64 reference: outputs, all gradients, extremes, and the front door's errors."""

import itertools
import math
import pickle
from copy import deepcopy
from functools import lru_cache
from importlib.util import find_spec

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from helpers.scan_definition import definition
from nnunet_mamba.blocks.ss2d import VSSBlock
from nnunet_mamba.ops import (
    ScanOrders,
    cross_scan_orders,
    directional_scan,
    engines,
    selective_scan,
    slice_scan_orders,
)
from nnunet_mamba.ops.engines import ScanInputs
from nnunet_mamba.ops.scan_orders import identity_order

CUDA = torch.cuda.is_available()
INTERPRETED = {} if CUDA else {"triton": "cpu"}
DEVICES = {name: row.device or "cpu" for name, row in engines.ENGINES.items()} | INTERPRETED


def if_it_runs(name):
    """The engine's name, skipped without its module or its device."""
    missing = find_spec(engines.NEEDS.get(name, "torch")) is None or (DEVICES[name] == "cuda" and not CUDA)
    return pytest.param(name, marks=pytest.mark.skipif(missing, reason="its module or CUDA is missing"))


def engines_with(cases, of_the_interpreter):
    """Every engine with every case. Triton's interpreter takes seconds for each: some are exhaustive."""
    for name in DEVICES:
        for case in cases:
            few = name not in INTERPRETED or case in of_the_interpreter
            yield pytest.param(name, case, marks=[*if_it_runs(name).marks, *([] if few else [pytest.mark.exhaustive])])


ENGINES = [if_it_runs(name) for name in DEVICES]
SAMPLED_ENGINES = [  # the interpreter only in exhaustive runs
    pytest.param(*param.values, marks=[*param.marks, pytest.mark.exhaustive])
    if param.values[0] in INTERPRETED
    else param
    for param in ENGINES
]
FAST_ENGINES = [name for name in DEVICES if name not in (*INTERPRETED, "mamba_ssm")]

# B, D, L, N, groups (0: B and C shared, given as (B, N, L))
LONG_SHAPES = [(1, 1, 4096, 1, 0), (2, 24, 4096, 8, 3), (1, 768, 500, 16, 0), (1, 8, 49152, 16, 0)]
SHAPES = [
    (1, 1, 1, 1, 0),
    (2, 8, 2, 8, 0),
    (2, 12, 63, 16, 3),
    (1, 4, 300, 16, 2),
    (3, 5, 130, 7, 0),
    (1, 768, 40, 16, 0),
]


def relative_error(value, wanted):
    return ((value.double().cpu() - wanted).norm() / wanted.norm().clamp_min(1e-30)).item()


def inputs(batch, channels, length, states, groups, seed=0):
    """The scan's seven tensors in float64, like in a trained network: A < 0, delta around 0.05 after softplus."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    shape = (batch, groups, states, length) if groups else (batch, states, length)
    return {
        "u": normal(batch, channels, length),
        "delta": normal(batch, channels, length),
        "A": -torch.exp(normal(channels, states)),
        "B": normal(*shape),
        "C": normal(*shape),
        "D": normal(channels),
        "delta_bias": normal(channels) - 3,
    }


def leaves(tensors, dtype, engine="reference"):
    """Copies that require gradients, on a device where the engine runs."""
    return {name: x.to(DEVICES.get(engine, "cpu"), dtype, copy=True).requires_grad_() for name, x in tensors.items()}


@pytest.mark.parametrize(("engine", "shape"), engines_with(SHAPES, SHAPES[:3]), ids=str)
def test_selective_scan_equals_the_reference(engine, shape):
    if engine == "triton" and not CUDA and shape[1] > 100:
        pytest.skip("Triton's interpreter takes over a minute")
    tensors = inputs(*shape)
    z, cotangent = torch.randn_like(tensors["u"]), torch.randn_like(tensors["u"])
    wanted, ours = leaves(tensors, torch.float64), leaves(tensors, torch.float32, engine)
    y, last = selective_scan(**wanted, z=z, delta_softplus=True, return_last_state=True, engine="reference")
    (y * cotangent).sum().backward()
    z, cotangent = (x.to(ours["u"].device) for x in (z, cotangent))
    got, got_last = selective_scan(**ours, z=z, delta_softplus=True, return_last_state=True, engine=engine)
    (got * cotangent).sum().backward()
    assert got.dtype == torch.float32
    assert relative_error(got, y) <= 1e-5
    assert relative_error(got_last, last) <= 1e-5
    for name, leaf in ours.items():
        assert relative_error(leaf.grad, wanted[name].grad) <= 1e-4, name


def one_direction(tensors):
    """The arguments of selective_scan, B and C with groups, as a scan's inputs."""
    u, delta, A, B, C, D, bias = tensors
    order = identity_order(u.shape[2], u.device)
    maps = u, delta[:, None], A[None], B[:, None], C[:, None], D[None], bias[None]
    return ScanInputs(*maps, order.positions, order.steps)


def defined_output(tensors):
    return definition(one_direction(tensors), True)[0]


def test_the_tests_definition_is_the_reference():
    tensors = [x.requires_grad_() for x in inputs(2, 6, 20, 3, 2).values()]
    y = selective_scan(*tensors[:6], delta_bias=tensors[6], delta_softplus=True, engine="reference")
    got = defined_output(tensors)
    torch.testing.assert_close(got, y)
    cotangent = torch.randn_like(y)
    grads = (torch.autograd.grad(x, tensors, cotangent) for x in (got, y))
    torch.testing.assert_close(*grads)


@lru_cache
def long_scan(shape):
    """Inputs, output, its cotangent and the gradients of the definition in float64. The longest takes a minute."""
    tensors = inputs(*shape)
    if not shape[4]:
        tensors |= {name: tensors[name][:, None] for name in "BC"}
    wanted = leaves(tensors, torch.float64)
    y = defined_output(wanted.values())
    cotangent = torch.randn_like(y)
    grads = torch.autograd.grad(y, list(wanted.values()), cotangent)
    return tensors, y.detach(), cotangent, dict(zip(wanted, grads, strict=True))


@pytest.mark.parametrize(
    ("shape", "engine"),
    [
        *itertools.product(LONG_SHAPES[:-1], FAST_ENGINES),
        (LONG_SHAPES[-1], "cpu"),
        *(pytest.param(LONG_SHAPES[-1], name, marks=pytest.mark.exhaustive) for name in FAST_ENGINES if name != "cpu"),
    ],
    ids=str,
)
def test_long_sequences_equal_the_definition(shape, engine):
    tensors, wanted, cotangent, wanted_grads = long_scan(shape)
    ours = leaves(tensors, torch.float32, engine)
    got = selective_scan(**ours, delta_softplus=True, engine=engine)
    got.backward(cotangent.to(got))
    assert relative_error(got, wanted) <= 1e-5
    for name, leaf in ours.items():
        assert relative_error(leaf.grad, wanted_grads[name]) <= 1e-4, name


@pytest.mark.parametrize("engine", ENGINES)
def test_directional_scan_sums_directions_in_spatial_order(engine):
    height, width, directions, channels, states = 5, 9, 4, 6, 16
    length = height * width
    walks = cross_scan_orders(height, width, torch.device("cpu")).positions[:3]
    positions = torch.cat([walks, torch.randperm(length)[None]])
    tensors = {
        "u": torch.randn(2, channels, length),
        "delta": torch.randn(2, directions, channels, length),
        "A": -torch.rand(directions, channels, states) * 4,
        "B": torch.randn(2, directions, states, length),
        "C": torch.randn(2, directions, states, length),
        "D": torch.randn(directions, channels),
        "delta_bias": torch.randn(directions, channels),
    }
    wanted, ours = leaves(tensors, torch.float64), leaves(tensors, torch.float32, engine)
    cotangent = torch.randn(2, channels, length)
    y = torch.zeros(2, channels, length, dtype=torch.float64)
    for k, order in enumerate(positions):  # the definition: read in order, scan, put back in spatial order
        walked = selective_scan(
            wanted["u"][..., order],
            wanted["delta"][:, k][..., order],
            wanted["A"][k],
            wanted["B"][:, k][..., order],
            wanted["C"][:, k][..., order],
            wanted["D"][k],
            delta_bias=wanted["delta_bias"][k],
            delta_softplus=True,
            engine="reference",
        )
        y = y.index_add(2, order, walked)
    (y * cotangent).sum().backward()
    device = ours["u"].device
    got = directional_scan(**ours, orders=ScanOrders(positions.to(device)), engine=engine)
    (got * cotangent.to(device)).sum().backward()
    assert relative_error(got, y) <= 1e-5
    for name, leaf in ours.items():
        assert relative_error(leaf.grad, wanted[name].grad) <= 1e-4, name


EXTREMES = [(A, delta) for A in (-1e-4, -1.0, -1e4) for delta in (1e-6, 1.0, 1e3)]


@pytest.mark.parametrize(("engine", "extreme"), engines_with(EXTREMES, [EXTREMES[0], EXTREMES[-1]]), ids=str)
def test_extremes_are_finite_and_right(engine, extreme):
    A, delta = extreme
    length, states = 150, 4
    tensors = {
        "u": torch.ones(1, 2, length, dtype=torch.float64),
        "delta": torch.full((1, 2, length), delta, dtype=torch.float64),
        "A": torch.full((2, states), A, dtype=torch.float64),
        "B": torch.ones(1, states, length, dtype=torch.float64),
        "C": torch.ones(1, states, length, dtype=torch.float64),
    }
    wanted, ours = leaves(tensors, torch.float64), leaves(tensors, torch.float32, engine)
    y = selective_scan(**wanted, engine="reference")
    y.sum().backward()
    got = selective_scan(**ours, engine=engine)
    got.sum().backward()
    assert relative_error(got, y) <= 2e-5
    for name, leaf in ours.items():
        assert leaf.grad.isfinite().all(), name
        assert relative_error(leaf.grad, wanted[name].grad) <= 1e-3, name


@pytest.mark.parametrize("engine", SAMPLED_ENGINES)
def test_zero_input_gives_zero(engine):
    tensors = leaves(inputs(1, 4, 70, 8, 0) | {"u": torch.zeros(1, 4, 70)}, torch.float32, engine)
    assert not selective_scan(**tensors, delta_softplus=True, engine=engine).any()


@pytest.mark.parametrize("engine", SAMPLED_ENGINES)
def test_inputs_need_not_be_contiguous(engine):
    tensors = leaves(inputs(2, 6, 50, 8, 0), torch.float32, engine)
    strided = {name: x.transpose(0, -1).contiguous().transpose(0, -1) for name, x in tensors.items()}
    got, wanted = (selective_scan(**x, delta_softplus=True, engine=engine) for x in (strided, tensors))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(("dtype", "large"), [(torch.bfloat16, 1e6), (torch.float16, 1e4)], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("engine", ENGINES)
def test_half_precision_is_scanned_in_float32(engine, dtype, large):
    tensors = leaves(inputs(1, 4, 20, 8, 0) | {"u": torch.full((1, 4, 20), large)}, dtype, engine)
    with torch.autocast(tensors["u"].device.type, dtype=dtype):
        got = selective_scan(**tensors, delta_softplus=True, engine=engine)
    doubles = {name: x.double().cpu() for name, x in tensors.items()}
    wanted = selective_scan(**doubles, delta_softplus=True, engine="reference")
    torch.testing.assert_close(got.cpu(), wanted.to(dtype), rtol=torch.finfo(dtype).eps, atol=0)  # rounded once


@pytest.mark.parametrize("engine", ENGINES)
def test_twice_the_same_bits(engine):
    """No sum depends on which thread comes first. On a GPU at a size that fills it."""
    shape = (2, 96, 3000, 16, 1) if DEVICES[engine] == "cuda" else (1, 2, 20, 3, 1)
    tensors = leaves(inputs(*shape), torch.float32, engine)

    def run():
        y = selective_scan(**tensors, delta_softplus=True, engine=engine)
        return y, *torch.autograd.grad(y.square().sum(), list(tensors.values()))

    for first, second in zip(run(), run(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("engine", SAMPLED_ENGINES)
def test_a_compiled_scan_is_the_same(engine):
    """Output and gradients, by inductor on a GPU."""
    tensors = leaves(inputs(1, 4, 20, 3, 2), torch.float32, engine)

    def doubled(**tensors):
        return 2 * selective_scan(**tensors, delta_softplus=True, engine=engine)

    torch._dynamo.reset()
    backend = "inductor" if DEVICES[engine] == "cuda" else "aot_eager"
    y, got = doubled(**tensors), torch.compile(doubled, fullgraph=True, backend=backend)(**tensors)
    grads = (torch.autograd.grad(x.square().sum(), list(tensors.values())) for x in (got, y))
    torch.testing.assert_close(got, y)
    torch.testing.assert_close(*grads)


def test_torch_engine_passes_gradcheck():
    tensors = leaves(inputs(1, 4, 11, 3, 2), torch.float64)
    assert torch.autograd.gradcheck(
        lambda *x: selective_scan(*x[:6], delta_bias=x[6], delta_softplus=True, engine="torch"), tuple(tensors.values())
    )


@pytest.mark.parametrize("keep", [True, False], ids=["with gradients", "without"])
@pytest.mark.parametrize("engine", ENGINES)
def test_the_operator_is_registered_correctly(engine, keep):
    args = (*operands(leaves(inputs(2, 4, 10, 3, 2), torch.float32, engine), engine), keep)
    args = tuple(x.detach().requires_grad_(keep and x.is_floating_point()) if torch.is_tensor(x) else x for x in args)
    torch.library.opcheck(torch.ops.nnunet_mamba.scan.default, args)


@pytest.mark.parametrize("engine", ENGINES)
def test_torch_compile_does_not_look_into_an_engine(engine):
    """Here the operator runs in a compiled function but outside its graphs: the function around it is not compiled."""
    tensors = {name: x.detach() for name, x in leaves(inputs(1, 4, 12, 3, 2), torch.float32, engine).items()}
    arguments = (*operands(tensors, engine), False)
    scan = torch._dynamo.disable(lambda: torch.ops.nnunet_mamba.scan(*arguments)[0], recursive=False)
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    got = torch.compile(lambda: scan() + 1, backend="eager")()
    torch.testing.assert_close(got, scan() + 1)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1  # the addition


@pytest.mark.parametrize("engine", SAMPLED_ENGINES)
def test_without_gradients_nothing_is_kept_and_the_result_is_the_same(engine):
    tensors = leaves(inputs(2, 4, 70, 5, 2), torch.float32, engine)
    arguments = tensors | {"delta_softplus": True, "engine": engine, "return_last_state": True}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        y, state = selective_scan(**arguments)
    assert y.requires_grad and kept[-1].numel() > 1
    with torch.no_grad():
        alone, alone_state = selective_scan(**arguments)
        *positional, engine_name = (x.detach() if torch.is_tensor(x) else x for x in operands(tensors, engine))
        assert torch.ops.nnunet_mamba.scan(*positional, engine_name, False)[2].numel() == 0
    torch.testing.assert_close((alone, alone_state), (y.detach(), state), rtol=0, atol=0)
    with pytest.raises(RuntimeError, match="without what its backward needs"):
        torch.ops.nnunet_mamba.scan(*operands(tensors, engine), False)[0].sum().backward()


def operands(tensors, engine):
    """selective_scan's arguments as the operator takes them, without the last."""
    return *(x.contiguous() for x in one_direction(tensors.values())), True, engine


def test_cross_scan_orders_walk_rows_and_columns_and_back():
    rows, columns, rows_back, columns_back = cross_scan_orders(2, 3, torch.device("cpu")).positions.tolist()
    assert rows == [0, 1, 2, 3, 4, 5] and columns == [0, 3, 1, 4, 2, 5]
    assert rows_back == rows[::-1] and columns_back == columns[::-1]


def test_slice_scan_orders_read_bands_of_ragged_maps():
    horizontal, back, vertical, vertical_back = slice_scan_orders(3, 3, 2, 2, torch.device("cpu")).positions.tolist()
    assert horizontal == [0, 3, 1, 4, 2, 5, 6, 7, 8] and back == horizontal[::-1]
    assert vertical == [0, 1, 3, 4, 6, 7, 2, 5, 8] and vertical_back == vertical[::-1]


@pytest.mark.parametrize("slices", [(2, 2), (2, 4), (4, 2), (4, 4)], ids=str)
def test_slice_scan_orders_are_permutations_of_every_map(slices):
    for height in range(1, 10):
        for width in range(1, 12):
            orders = slice_scan_orders(height, width, *slices, torch.device("cpu"))
            everywhere = torch.arange(height * width).expand(4, -1)
            assert torch.equal(orders.positions.sort(dim=1).values, everywhere)
            assert torch.equal(orders.steps.gather(1, orders.positions), everywhere)


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_block_can_be_exported_to_onnx_and_still_runs(tmp_path, dynamo):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    block, x = VSSBlock(4).eval(), torch.randn(1, 4, 7, 5)
    file = str(tmp_path / "block.onnx")
    torch.onnx.export(block, (x,), file, dynamo=dynamo, input_names=["x"], opset_version=18)
    (got,) = onnxruntime.InferenceSession(file).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), block(x).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("u", torch.ones(3, 5), r"u: got shape \(3, 5\), wanted \(B, D, L\)"),
        ("u", torch.ones(1, 4, 5, dtype=torch.int64), "u: got torch.int64, wanted a real"),
        ("delta", torch.ones(1, 4, 6), r"delta: got shape \(1, 4, 6\), wanted \(1, any, 5\)"),
        ("delta", torch.ones(1, 3, 5), "delta: got 3 groups, wanted a divisor of the 4 channels of u"),
        ("A", torch.ones(3, 2), r"A: got shape \(3, 2\), wanted \(4, any\)"),
        ("A", torch.ones(4, 2, dtype=torch.complex64), "A: got torch.complex64, wanted a real"),
        ("B", torch.ones(1, 3, 2, 5), "B: got 3 groups, wanted a divisor of the 4 channels of u"),
        ("B", torch.ones(1, 4, 2, 5), r"C: got shape \(1, 1, 2, 5\), wanted \(1, 4, 2, 5\)"),
        ("B", torch.ones(2, 4), r"B: got shape \(2, 4\), wanted \(4, 2\)"),
        ("C", torch.ones(4, 2, dtype=torch.complex64), "C: got torch.complex64, wanted a real"),
        ("C", torch.ones(1, 2, 5, device="meta"), "C: got device meta, wanted cpu like u"),
        ("D", torch.ones(5), r"D: got shape \(5,\), wanted \(4\)"),
        ("delta_bias", torch.ones(1), r"delta_bias: got shape \(1,\), wanted \(4\)"),
        ("engine", "cuda", "engine: got 'cuda', wanted one of reference, torch"),
        ("engine", "mamba_ssm", "engine: got 'mamba_ssm' for tensors on cpu, wanted them on cuda, or engine 'torch'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_selective_scan_names_the_wrong_argument(argument, value, message):
    arguments = {
        "u": torch.ones(1, 4, 5),
        "delta": torch.ones(1, 4, 5),
        "A": -torch.ones(4, 2),
        "B": torch.ones(1, 2, 5),
        "C": torch.ones(1, 2, 5),
    }
    with pytest.raises(ValueError, match=message):
        selective_scan(**arguments | {argument: value})


@pytest.mark.parametrize("shape", [(0, 4, 5), (1, 0, 5), (1, 4, 0)], ids=str)
def test_a_map_of_nothing_is_named(shape):
    batch, channels, length = shape
    u, steering = torch.ones(shape), torch.ones(batch, 2, length)
    A, ones = -torch.ones(1, channels, 2), torch.ones(1, channels)
    with pytest.raises(ValueError, match=r"u: got shape .*, wanted \(B, D, L\), each above zero"):
        selective_scan(u, u, A[0], steering, steering)
    with pytest.raises(ValueError, match=r"u: got shape .*, wanted \(B, C, L\), each above zero"):
        directional_scan(
            u, u[:, None], A, steering[:, None], steering[:, None], ones, ones, identity_order(length, u.device)
        )


def test_engines_that_only_know_float32_say_so():
    tensors = inputs(1, 4, 5, 2, 0)
    with pytest.raises(ValueError, match="engine: got 'cpu' for float64, wanted float32"):
        selective_scan(**tensors, engine="cpu")


@pytest.mark.parametrize(
    "positions",
    [
        torch.tensor([[0, 1, 1]]),
        torch.tensor([[0, 1, 3]]),
        torch.tensor([[0, 1, -1]]),
        torch.tensor([[0, 1, 2], [0, 0, 2]]),
        torch.tensor([0, 1, 2]),
        torch.tensor([[0.0, 1.0]]),
    ],
    ids=str,
)
def test_orders_must_be_permutations(positions):
    with pytest.raises(ValueError, match="orders: got"):
        ScanOrders(positions)


def test_orders_do_not_change_with_the_tensor_they_were_made_from():
    positions = torch.tensor([[2, 0, 1]])
    orders = ScanOrders(positions)
    positions[0, 0] = 1
    assert orders.positions.tolist() == [[2, 0, 1]] and orders.steps.tolist() == [[1, 2, 0]]


@pytest.mark.parametrize("orders", [ScanOrders(torch.arange(4)[None]), ScanOrders(torch.arange(3).expand(4, 3))])
def test_orders_of_another_map_are_named(orders):
    ones = torch.ones(1, 1, 3)
    with pytest.raises(ValueError, match=r"orders: got \(\d, \d\) on cpu, wanted \(1, 3\) on cpu"):
        directional_scan(
            ones, ones[None], -ones[:, :, :1], ones[None], ones[None], ones[0, :, :1], ones[0, :, :1], orders
        )


def test_orders_are_built_once_unless_torch_traces():
    device = torch.device("cpu")
    with torch.inference_mode():
        orders = cross_scan_orders(6, 5, device)
    assert cross_scan_orders(6, 5, device) is orders and not orders.positions.is_inference()
    with FakeTensorMode():
        assert isinstance(cross_scan_orders(6, 5, device).steps, FakeTensor)
    assert cross_scan_orders(6, 5, device) is orders


@pytest.mark.parametrize("copy", [deepcopy, lambda orders: pickle.loads(pickle.dumps(orders))], ids=["copy", "pickle"])
def test_orders_can_be_copied_and_pickled(copy):
    orders = ScanOrders(torch.tensor([[2, 0, 1]]))
    copied = copy(orders)
    assert torch.equal(copied.positions, orders.positions) and torch.equal(copied.steps, orders.steps)


def test_a_compiled_function_takes_orders():
    orders = ScanOrders(torch.randperm(12)[None])
    u, delta, steering = torch.randn(1, 4, 12), torch.randn(1, 1, 4, 12), torch.randn(1, 1, 2, 12)
    arguments = u, delta, -torch.ones(1, 4, 2), steering, steering, torch.ones(1, 4), torch.zeros(1, 4), orders
    compiled = torch.compile(directional_scan, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), directional_scan(*arguments), rtol=0, atol=0)


def test_environment_variable_chooses_the_engine(monkeypatch):
    monkeypatch.setenv("NNUNET_MAMBA_SCAN", "nonsense")
    tensors = {name: x.float() for name, x in inputs(1, 2, 3, 2, 0).items()}
    with pytest.raises(ValueError, match="got 'nonsense'"):
        selective_scan(**tensors)
    assert math.isfinite(selective_scan(**tensors, engine="torch").sum())
