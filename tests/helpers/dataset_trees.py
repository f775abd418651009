"""Small trees in the official layouts of the data sets that keep images and masks in separate folders, written by the tests.

Every image is dark with a bright box, and the box is its mask, so that image and label can be compared.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image

from nnunet_mamba.dataset_conversion import chest_xray, cvc_clinicdb, generic, isic2017, isic2018, kvasir_seg, synapse

SIZE = (24, 32)  # (H, W)
SPACING, ORIGIN = (0.7, 0.8, 3.0), (-120.0, 35.0, 400.0)  # x, y, z in mm
DIRECTION = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def box(i: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask (H, W) bool; its place depends on `i`."""
    mask = np.zeros(size, bool)
    mask[6 + i % 5 : 16, 8 : 20 + i % 7] = True
    return mask


def write_image(path: Path, i: int = 0, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Path:
    """Dark with the bright box of `i`, in a Pillow mode; `I;16` with values of 12 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.where(box(i, size), 200, 40)
    if mode == "I;16":
        Image.fromarray((pixels * 16).astype(np.uint16)).save(path)
    else:
        Image.fromarray(pixels.astype(np.uint8)).convert(mode).save(path)
    return path


def write_mask(path: Path, mask: np.ndarray, mode: str = "L") -> Path:
    """0 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(path)
    return path


def write_volume(path: Path, array: np.ndarray, spacing: tuple[float, ...] = SPACING) -> Path:
    """An oblique-free but mirrored NIfTI of (D, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = sitk.GetImageFromArray(array)
    volume.SetSpacing(spacing)
    volume.SetOrigin(ORIGIN)
    volume.SetDirection(DIRECTION)
    sitk.WriteImage(volume, str(path))
    return path


def montgomery(root: Path, ids: tuple[str, ...] = ("0001_0", "0002_0", "0003_1", "0004_1")) -> Path:
    """Official: `MontgomerySet` with a mask for each lung; 12 bits."""
    root = root / "MontgomerySet"
    for i, number in enumerate(ids):
        name = f"MCUCXR_{number}.png"
        write_image(root / "CXR_png" / name, i, "I;16")
        for side, columns in (("leftMask", slice(14, None)), ("rightMask", slice(None, 14))):
            half = np.zeros(SIZE, bool)
            half[:, columns] = box(i)[:, columns]
            write_mask(root / "ManualMask" / side / name, half, "1")
    (root / "NLM-MontgomeryCXRSet-ReadMe.pdf").write_bytes(b"")
    return root


def shenzhen(root: Path, labelled: int = 6, unlabelled: int = 2) -> Path:
    """Official: `ChinaSet_AllFiles`, some images with 3 channels, and the masks in `mask` beside it."""
    for i in range(labelled + unlabelled):
        name = f"CHNCXR_{i + 1:04d}_{i % 2}"
        write_image(root / "ChinaSet_AllFiles" / "CXR_png" / f"{name}.png", i, "RGB" if i % 3 else "L")
        if i < labelled:
            write_mask(root / "mask" / f"{name}_mask.png", box(i))
    (root / "ChinaSet_AllFiles" / "CXR_png" / "Thumbs.db").write_bytes(b"")
    return root


def merged(root: Path) -> Path:
    """`Lung Segmentation` as it circulates: resampled masks have anti-aliased outlines; `test` holds images alone."""
    root = root / "Lung Segmentation"
    names = [*(f"MCUCXR_{i:04d}_{i % 2}" for i in range(4)), *(f"CHNCXR_{i:04d}_{i % 2}" for i in range(6))]
    for i, name in enumerate(names):
        write_image(root / "CXR_png" / f"{name}.png", i, "L")
        mask = np.where(box(i), 255, 0).astype(np.uint8)
        mask[5, 8:14], mask[6 + i % 5, 8:14] = 100, 160  # a soft upper edge: below and above the threshold
        path = root / "masks" / (f"{name}.png" if name.startswith("M") else f"{name}_mask.png")
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(path)
    write_image(root / "CXR_png" / "CHNCXR_0900_1.png", 0, "L")
    write_image(root / "test" / "CHNCXR_0900_1.png", 0, "L")
    return root


def isic(root: Path, image_folder: str, mask_folder: str, parts: dict[str, int], with_masks: tuple[str, ...]) -> Path:
    """The folders of `parts` (as their names go, with a number of images), with masks for some."""
    number = 0
    for part, count in parts.items():
        for _ in range(count):
            name = f"ISIC_{number:07d}"
            write_image(root / image_folder.format(part=part) / f"{name}.jpg", number)
            if part in with_masks:
                write_mask(root / mask_folder.format(part=part) / f"{name}_segmentation.png", box(number))
            number += 1
    return root


def isic_2017(root: Path) -> Path:
    """With superpixels and a table among the images, and the masks of other tasks."""
    folders = "ISIC-2017_{part}_Data", "ISIC-2017_{part}_Part1_GroundTruth"
    isic(
        root / "ISIC2017",
        *folders,
        {"Training": 6, "Validation": 2, "Test_v2": 3},
        ("Training", "Validation", "Test_v2"),
    )
    images = root / "ISIC2017" / "ISIC-2017_Training_Data"
    write_image(images / "ISIC_0000000_superpixels.png")
    (images / "ISIC-2017_Training_Data_metadata.csv").write_text("image_id,age_approximate,sex\n")
    (root / "ISIC2017" / "ISIC-2017_Training_Part2_GroundTruth").mkdir()
    return root / "ISIC2017"


def isic_2018(root: Path) -> Path:
    """The masks of validation are not there."""
    folders = "ISIC2018_Task1-2_{part}_Input", "ISIC2018_Task1_{part}_GroundTruth"
    isic(root / "ISIC2018", *folders, {"Training": 6, "Validation": 2, "Test": 3}, ("Training", "Test"))
    (root / "ISIC2018" / "ISIC2018_Task1-2_Training_Input" / "ATTRIBUTION.txt").write_text("")
    return root / "ISIC2018"


def kvasir(root: Path) -> Path:
    """Masks as 3-channel JPEG."""
    root = root / "Kvasir-SEG"
    for i in range(7):
        size = (SIZE[0] + i % 2 * 8, SIZE[1])
        write_image(root / "images" / f"cju{i}qkwl.jpg", i, size=size)
        write_mask(root / "masks" / f"cju{i}qkwl.jpg", box(i, size), "RGB")
    (root / "kvasir_bboxes.json").write_text("{}")
    return root


def clinicdb(root: Path, kind: str = "tif", frames: tuple[int, ...] = (1, 2, 25, 26, 51, 68, 79, 104, 612)) -> Path:
    """Frames of seven sequences."""
    root = root / "CVC-ClinicDB"
    for frame in frames:
        write_image(root / "Original" / f"{frame}.{kind}", frame)
        write_mask(root / "Ground Truth" / f"{frame}.{kind}", box(frame))
    return root


def btcv(root: Path, numbers: tuple[int, ...] = (1, 2, 5, 6, 7, 9, 10)) -> Path:
    """`Abdomen/RawData`; every label value from 0 to 13 in each scan, and a scan of the challenge's own test."""
    training = root / "Abdomen" / "RawData" / "Training"
    for number in numbers:
        labels = np.zeros((4, *SIZE), np.uint8)
        for value in range(1, 14):
            labels[1:3, 2:10, 2 * value : 2 * value + 2] = value
        scan = (np.where(labels > 0, 60, -900) + labels + number).astype(np.int16)
        write_volume(training / "img" / f"img{number:04d}.nii.gz", scan)
        write_volume(training / "label" / f"label{number:04d}.nii.gz", labels)
    write_volume(training.parent / "Testing" / "img" / "img0061.nii.gz", np.zeros((4, *SIZE), np.int16))
    return root / "Abdomen"


def folder_pair(root: Path) -> Path:
    """`images` and `masks`, three patients."""
    for i in range(7):
        write_image(root / "pair" / "images" / f"P{i % 3}_{i}.png", i)
        write_mask(root / "pair" / "masks" / f"P{i % 3}_{i}_mask.png", box(i))
    return root / "pair"


@dataclass(frozen=True)
class DataSet:
    """A converter with its tree; `image` and `mask` are a training case in it, `fed` what its `convert` is given the tree by."""

    name: str
    convert: Callable[..., Path]
    plant: Callable[[Path], Path]
    image: str
    mask: str
    training: int
    test: int = 0
    feed: Callable[[Path], dict[str, Any]] = field(default=lambda source: {"source": source})


def _pair_options(source: Path) -> dict[str, Any]:
    return {"images": source / "images", "masks": source / "masks"}


_ISIC17, _ISIC18 = "ISIC-2017_Training_", "ISIC2018_Task1"
_FIRST = "ISIC_0000000"
DATA_SETS = (
    DataSet(
        "chest_merged", chest_xray.convert, merged, "CXR_png/CHNCXR_0000_0.png", "masks/CHNCXR_0000_0_mask.png", 10
    ),
    DataSet(
        *("montgomery", chest_xray.convert, montgomery, "CXR_png/MCUCXR_0001_0.png"),
        *("ManualMask/leftMask/MCUCXR_0001_0.png", 4),
    ),
    DataSet(
        *("shenzhen", chest_xray.convert, shenzhen, "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png"),
        *("mask/CHNCXR_0001_0_mask.png", 6),
    ),
    DataSet(
        *("isic2017", isic2017.convert, isic_2017, f"{_ISIC17}Data/{_FIRST}.jpg"),
        *(f"{_ISIC17}Part1_GroundTruth/{_FIRST}_segmentation.png", 6, 5),
    ),
    DataSet(
        *("isic2018", isic2018.convert, isic_2018, f"{_ISIC18}-2_Training_Input/{_FIRST}.jpg"),
        *(f"{_ISIC18}_Training_GroundTruth/{_FIRST}_segmentation.png", 6, 5),
    ),
    DataSet("kvasir", kvasir_seg.convert, kvasir, "images/cju0qkwl.jpg", "masks/cju0qkwl.jpg", 7),
    DataSet("clinicdb", cvc_clinicdb.convert, clinicdb, "Original/1.tif", "Ground Truth/1.tif", 9),
    DataSet(
        *(
            "synapse",
            synapse.convert,
            btcv,
            "RawData/Training/img/img0005.nii.gz",
            "RawData/Training/label/label0005.nii.gz",
        ),
        *(5, 2),
    ),
    DataSet("generic", generic.convert, folder_pair, "images/P0_0.png", "masks/P0_0_mask.png", 7, feed=_pair_options),
)
