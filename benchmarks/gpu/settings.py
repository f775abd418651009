"""How the Triton engine's settings change its speed on this card: what to set there for it."""

from collections.abc import Callable, Sequence
from unittest.mock import patch

import torch
from torch import Tensor

from gpu.report import Missed
from measure import interleaved

# (CHUNK, TILE) of nnunet_mamba/ops/triton_engine.py; each pair is compiled anew, in some ten seconds
SETTINGS = ((16, 128), (8, 128), (32, 128), (16, 64), (16, 256))
DRY_SETTINGS = ((16, 128), (4, 128))
TOLERANCE = 1e-4  # relative, between settings


def compare_settings(step: Callable[[], Sequence[Tensor]], settings: Sequence[tuple[int, int]], rounds: int) -> dict:
    """Milliseconds of `step`, forward and backward, with each of `settings`; the first are the engine's own.

    Raises:
        Missed: a setting gives another result.
    """
    from nnunet_mamba.ops import triton_engine

    times, wanted = {}, None
    for chunk, tile in settings:
        with patch.multiple(triton_engine, CHUNK=chunk, TILE=tile):
            name = f"chunk {chunk} tile {tile}"
            got = step()
            wanted = got if wanted is None else wanted
            times[name] = round(1000 * interleaved({"step": step}, rounds)["step"], 4)
        off = max(_relative_error(a, b) for a, b in zip(got, wanted, strict=True))
        if not off < TOLERANCE:
            raise Missed(f"{name} is off by {off:.1e} from the engine's own settings", {"settings_ms": times})
    return {"settings_ms": times, "best": min(times, key=times.__getitem__)}


def _relative_error(value: Tensor, wanted: Tensor) -> float:
    return (torch.linalg.vector_norm(value - wanted) / torch.linalg.vector_norm(wanted).clamp_min(1e-12)).item()
