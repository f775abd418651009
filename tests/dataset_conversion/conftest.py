"""A PH2 tree, and nnU-Net's folders in a temporary folder."""

from pathlib import Path

import pytest

from helpers import dataset_trees


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The folder `PH2Dataset`."""
    return dataset_trees.ph2(tmp_path / "source")


@pytest.fixture
def images(tree: Path) -> Path:
    """The folder whose sub-folders are PH2's cases."""
    return tree / "PH2 Dataset images"


class Folders:
    """nnU-Net's three folders."""

    def __init__(self, base: Path):
        self.raw, self.preprocessed, self.results = (base / name for name in ("raw", "preprocessed", "results"))

    def content(self) -> list[str]:
        """Everything in them, hidden files too."""
        return sorted(
            str(p) for base in (self.raw, self.preprocessed, self.results) if base.exists() for p in base.rglob("*")
        )


@pytest.fixture(autouse=True)
def nnunet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    """Empty nnU-Net folders, set in the environment."""
    folders = Folders(tmp_path / "nnunet")
    for name in ("raw", "preprocessed", "results"):
        (tmp_path / "nnunet" / name).mkdir(parents=True)
        monkeypatch.setenv(f"nnUNet_{name}", str(tmp_path / "nnunet" / name))
    return folders
