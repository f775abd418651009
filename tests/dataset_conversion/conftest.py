"""PH2 trees in the official layout, small enough to convert in a blink, and nnU-Net's folders in a temporary place."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

IDS = ("IMD003", "IMD009", "IMD016", "IMD155", "IMD339", "IMD404", "IMD437")  # not contiguous, as in the real set


def add_case(
    root: Path,
    id: str,
    size: tuple[int, int] = (24, 32),
    mask_mode: str = "1",
    mask_size: tuple[int, int] | None = None,
):
    """One case of the official layout under `root`; sizes are (H, W). Content depends on the id alone."""
    random = np.random.default_rng(list(id.encode()))
    image_folder, mask_folder = root / id / f"{id}_Dermoscopic_Image", root / id / f"{id}_lesion"
    for folder in (image_folder, mask_folder):
        folder.mkdir(parents=True)
    image = Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8))
    image.save(image_folder / f"{id}.bmp")
    height, width = mask_size or size
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height // 2 + int(random.integers(1, 5)), width // 4 : width // 2] = 255
    Image.fromarray(mask).convert(mask_mode).save(mask_folder / f"{id}_lesion.bmp")
    return image_folder / f"{id}.bmp", mask_folder / f"{id}_lesion.bmp"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`PH2Dataset` with the traps of the real copies: sizes differ, one mask is RGB, jpg copies, roi folders, stray files."""
    images = tmp_path / "source" / "PH2Dataset" / "PH2 Dataset images"
    for i, id in enumerate(IDS):
        image, mask = add_case(images, id, size=(24 + i % 3, 32 + i % 2), mask_mode="RGB" if i == 2 else "1")
        Image.open(image).save(image.with_suffix(".jpg"))
        Image.open(mask).convert("L").save(mask.with_suffix(".jpg"))
        roi = images / id / f"{id}_roi"
        roi.mkdir()
        Image.open(mask).save(roi / f"{id}_R1_Label4.bmp")
    (images / "Thumbs.db").write_bytes(b"")
    (images / ".ipynb_checkpoints").mkdir()
    (images.parent / "PH2_dataset.txt").write_text("||  Name || Histological Diagnosis ||\n")
    return images.parent


@pytest.fixture
def images(tree: Path) -> Path:
    """The folder whose sub-folders are cases."""
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


@pytest.fixture
def new_case():
    """`add_case`, for tests that add to a tree."""
    return add_case
