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


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that the tensors made by `work()` hold at one time.

    Modules and tensors must be made inside `work`. A number read from a tensor (`if x.any()`, `x.item()`) is not known:
    `any` is taken for false, everything else for true or 1, so that checks of the input find nothing wrong.
    """
    with FakeTensorMode(), _LiveBytes() as live:
        work()
    return live.peak


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
