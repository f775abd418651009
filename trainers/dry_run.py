"""The memory of a piece of work, counted without doing it: torch's fake tensors have shapes and lifetimes, no numbers.

Every tensor that the work would allocate is counted from its birth to its last use, including those that autograd keeps
for the backward pass. What a kernel allocates inside itself is not seen; benchmarks/memory.py tells how much it is.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

aten = torch.ops.aten
# What glibc's malloc keeps: a share of what a training step allocates and frees, and a fixed amount. Fitted to
# measurements at 64 x 64 in batches of 2 and at 192 x 256 in batches of 4. The others in
# benchmarks/results/memory_cpu.json, "resident", test the fit.
KEPT_SHARE = 0.3
KEPT_BYTES = 2**25
BYTES_PER_PARAMETER = 4 * 4  # itself, its gradient, Adam's two moments


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that the tensors made by `work()` hold at one time.

    Modules and tensors must be made inside `work`. A number read from a tensor (`if x.any()`, `x.item()`) is not known:
    `any` is taken for false, everything else for true or 1, so that checks of the input find nothing wrong.
    """
    with FakeTensorMode(), _LiveBytes() as live:
        work()
    return live.peak


def with_what_malloc_keeps(peak: int, parameters: int) -> int:
    """Bytes that a training step with this peak, of a network with so many parameters, adds to a process on a CPU."""
    return round(peak + KEPT_SHARE * (peak - BYTES_PER_PARAMETER * parameters)) + KEPT_BYTES


class _LiveBytes(TorchDispatchMode):
    """Follows the storages that operators return."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is aten._local_scalar_dense.default:
            return getattr(args[0], "assumed", True)
        result = func(*args, **(kwargs or {}))
        if func is aten.any.default:
            result.assumed = False
        for x in tree_iter(result):
            if isinstance(x, Tensor):
                self._add(x.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            self._known.add(key)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._remove, key, storage.nbytes())

    def _remove(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size
