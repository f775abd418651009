"""Small trees in the official layouts of the data sets, written by the tests.

Every image is dark with a bright box (some of DSB2018: bright with dark boxes), and the box is its mask, so that image
and label can be compared. Sunnybrook's layouts are in `sunnybrook_trees`.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from PIL import Image

from helpers import sunnybrook_trees
from nnunet_mamba.dataset_conversion import convert

SIZE = (24, 32)  # (H, W)
SPACING, ORIGIN = (0.7, 0.8, 3.0), (-120.0, 35.0, 400.0)  # x, y, z in mm
DIRECTION = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def box(i: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask (H, W) bool; its position depends on `i`."""
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


def zip_folder(folder: Path, path: Path, ending: str = "") -> Path:
    """The files below `folder` in a zip, in reverse order; only those with `ending`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob(f"*{ending}"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


PH2_IDS = ("IMD003", "IMD009", "IMD016", "IMD155", "IMD339", "IMD404", "IMD437")  # not contiguous, as in the real set


def ph2_case(
    root: Path,
    id: str,
    size: tuple[int, int] = SIZE,
    mask_mode: str = "1",
    mask_size: tuple[int, int] | None = None,
) -> tuple[Path, Path]:
    """One case of PH2 below `root`; sizes are (H, W). The content depends only on the id."""
    random = np.random.default_rng(list(id.encode()))
    height, width = mask_size or size
    mask = np.zeros((max(height, size[0]), max(width, size[1])), bool)
    mask[height // 4 : height // 2 + int(random.integers(1, 5)), width // 4 : width // 2] = True
    pixels = random.integers(20, 110, (*size, 3), dtype=np.uint8)
    pixels[mask[: size[0], : size[1]]] += 140
    image = root / id / f"{id}_Dermoscopic_Image" / f"{id}.bmp"
    image.parent.mkdir(parents=True)
    Image.fromarray(pixels).save(image)
    path = root / id / f"{id}_lesion" / f"{id}_lesion.bmp"
    return image, write_mask(path, mask[:height, :width], mask_mode)


def ph2(root: Path) -> Path:
    """`PH2Dataset` with what is odd in real copies: sizes, an RGB mask, jpg copies, roi folders, stray files."""
    images = root / "PH2Dataset" / "PH2 Dataset images"
    for i, id in enumerate(PH2_IDS):
        image, mask = ph2_case(images, id, size=(24 + i % 3, 32 + i % 2), mask_mode="RGB" if i == 2 else "1")
        Image.open(image).save(image.with_suffix(".jpg"))
        Image.open(mask).convert("L").save(mask.with_suffix(".jpg"))
        roi = images / id / f"{id}_roi"
        roi.mkdir()
        Image.open(mask).save(roi / f"{id}_R1_Label4.bmp")
    (images / "Thumbs.db").write_bytes(b"")
    (images / ".ipynb_checkpoints").mkdir()
    (images.parent / "PH2_dataset.txt").write_text("||  Name || Histological Diagnosis ||\n")
    return images.parent


NUCLEI = ((2, 2, 8, 8), (8, 3, 14, 9), (18, 20, 22, 30))  # two that touch, one apart: top, left, bottom, right


def nuclei(size: tuple[int, int] = SIZE, boxes: tuple[tuple[int, ...], ...] = NUCLEI) -> list[np.ndarray]:
    """A mask (H, W) uint8 of 0 and 1 for each box."""
    masks = [np.zeros(size, np.uint8) for _ in boxes]
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def dsb2018_case(
    root: Path,
    id: str,
    size: tuple[int, int] = SIZE,
    mode: str = "RGBA",
    coloured: bool = False,
    masks: bool = True,
) -> Path:
    """One case of DSB2018 below `root`: grey on dark ground, or coloured on bright ground."""
    pixels = np.where(np.maximum.reduce(nuclei(size))[..., None] > 0, 200, np.full((*size, 3), 20)).astype(np.uint8)
    if coloured:
        pixels = 255 - pixels
        pixels[..., 1] //= 2
    case = root / id
    (case / "images").mkdir(parents=True)
    Image.fromarray(pixels).convert(mode).save(case / "images" / f"{id}.png")
    if masks:
        for i, mask in enumerate(nuclei(size)):
            write_mask(case / "masks" / f"{i}{id}.png", mask > 0)
    return case


def dsb2018(root: Path) -> Path:
    """`stage1_train` only: six dark grey cases, five bright coloured ones, RGB among RGBA, stray files."""
    for i in range(11):
        size, mode = SIZE if i < 6 else (26, 30), "RGB" if i == 3 else "RGBA"
        dsb2018_case(root / "bowl" / "stage1_train", f"{i:02d}{'a' * 62}", size, mode, coloured=i > 5)
    (root / "bowl" / "stage1_train" / f"00{'a' * 62}" / "masks" / ".DS_Store").write_bytes(b"")
    (root / "bowl" / "classes.csv").write_text("filename,foreground\n")
    return root / "bowl"


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
    """`Lung Segmentation` as it circulates: resampled masks have anti-aliased outlines; `test` holds images only."""
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
    """A data set with its tree; `image` and `mask` are the files of a training case in it."""

    id: str
    name: str
    plant: Callable[[Path], Path]
    image: str
    mask: str
    training: int
    test: int = 0
    sources: tuple[str, ...] = (".",)  # what is given to `convert`, below the tree

    def feed(self, tree: Path) -> list[Path]:
        """The folders to convert."""
        return [tree / source for source in self.sources]

    def convert(self, source: Path | list[Path], dataset_id: int = 501, **options: Any) -> Path:
        """Convert a tree, or the folders or zips of `feed`."""
        return convert(self.name, self.feed(source) if isinstance(source, Path) else source, dataset_id, **options)


_ISIC17, _ISIC18, _FIRST = "ISIC-2017_Training_", "ISIC2018_Task1", "ISIC_0000000"
_BTCV, _IRCCI = "RawData/Training", "contours-manual/IRCCI-expert"
_IMD, _NUCLEI = "PH2 Dataset images/IMD003/IMD003", f"stage1_train/00{'a' * 62}"
DATA_SETS = (
    DataSet("ph2", "PH2", ph2, f"{_IMD}_Dermoscopic_Image/IMD003.bmp", f"{_IMD}_lesion/IMD003_lesion.bmp", 7),
    DataSet(
        *("chest_merged", "ChestXray", merged, "CXR_png/CHNCXR_0000_0.png", "masks/CHNCXR_0000_0_mask.png"),
        training=10,
    ),
    DataSet(
        *("montgomery", "ChestXray", montgomery, "CXR_png/MCUCXR_0001_0.png"),
        *("ManualMask/leftMask/MCUCXR_0001_0.png", 4),
    ),
    DataSet(
        *("shenzhen", "ChestXray", shenzhen, "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png"),
        *("mask/CHNCXR_0001_0_mask.png", 6),
    ),
    DataSet(
        *("isic2017", "ISIC2017", isic_2017, f"{_ISIC17}Data/{_FIRST}.jpg"),
        *(f"{_ISIC17}Part1_GroundTruth/{_FIRST}_segmentation.png", 6, 5),
    ),
    DataSet(
        *("isic2018", "ISIC2018", isic_2018, f"{_ISIC18}-2_Training_Input/{_FIRST}.jpg"),
        *(f"{_ISIC18}_Training_GroundTruth/{_FIRST}_segmentation.png", 6, 5),
    ),
    DataSet("kvasir", "Kvasir-SEG", kvasir, "images/cju0qkwl.jpg", "masks/cju0qkwl.jpg", 7),
    DataSet("clinicdb", "CVC-ClinicDB", clinicdb, "Original/1.tif", "Ground Truth/1.tif", 9),
    DataSet("synapse", "Synapse", btcv, f"{_BTCV}/img/img0005.nii.gz", f"{_BTCV}/label/label0005.nii.gz", 5, 2),
    DataSet(
        *("generic", "generic", folder_pair, "images/P0_0.png", "masks/P0_0_mask.png", 7),
        sources=("images", "masks"),
    ),
)
MANY_MASKS = (  # several mask files or contours per image: what a bad one means differs
    DataSet("dsb2018", "DSB2018", dsb2018, f"{_NUCLEI}/images/00{'a' * 62}.png", f"{_NUCLEI}/masks", 11),
    DataSet(
        *(
            "sunnybrook",
            "Sunnybrook",
            sunnybrook_trees.layout_a,
            "SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0004.dcm",
        ),
        *(f"SCD_ManualContours/SC-HF-I-01/{_IRCCI}/IM-0001-0004-icontour-manual.txt", 24),
    ),
)
