"""The parts, most important first, and what each is told."""

from pathlib import Path
from typing import NamedTuple


class Part(NamedTuple):
    """`module` has `run(report, setup)`.

    Args:
        share: of the time, relative to the other parts'.
        row_seconds: after which a row counts as hanging.
    """

    name: str
    module: str
    share: float
    row_seconds: float


class Setup(NamedTuple):
    """What to do where: `folder` takes results, `dry` wants tiny sizes, `device` is cuda or cpu."""

    folder: Path
    dry: bool
    device: str
    parts: tuple[str, ...]

    @property
    def work(self) -> Path:
        """For data sets and trainings."""
        return self.folder / "work"


PARTS = (
    Part("right", "gpu.right", share=3, row_seconds=120),
    Part("fast", "gpu.fast", share=2, row_seconds=120),
    Part("steps", "gpu.steps", share=3, row_seconds=240),
    Part("trains", "gpu.trains", share=3, row_seconds=240),
)
