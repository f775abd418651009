"""ISIC 2017 part 1 and ISIC 2018 task 1: lesions in dermoscopic images (Codella et al., ISBI 2018, arXiv:1902.03368).

    nnunet_mamba convert ISIC2017 -i ISIC2017 -d 505
    nnunet_mamba convert ISIC2018 -i ISIC2018 -d 506

Reads a folder that holds the unpacked official archives (up to four levels down), or a zip of it. 2017 has 2000 + 150 +
600 images:

    ISIC-2017_Training_Data/ISIC_0000000.jpg                    with superpixels (.png) and a csv, not used
    ISIC-2017_Training_Part1_GroundTruth/ISIC_0000000_segmentation.png
    ISIC-2017_Validation_Data/, ISIC-2017_Test_v2_Data/         optional, with their Part1_GroundTruth

2018 has 2594 + 100 + 1000:

    ISIC2018_Task1-2_Training_Input/ISIC_0000000.jpg
    ISIC2018_Task1_Training_GroundTruth/ISIC_0000000_segmentation.png
    ISIC2018_Task1-2_Validation_Input/, ISIC2018_Task1-2_Test_Input/    optional, with their Task1 GroundTruth

The official validation and test cases go to imagesTs, and to labelsTs if their masks are there; the report tells the
two apart. They are in no fold; `--test` adds training cases to them. A training image without a mask is an error. So is
a validation or test image without a mask, if others of its part have one.

Channels are R, G, B, normalised per image (z-score), like PH2. Each image is a group of its own.
"""

import re
from functools import partial
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset
from nnunet_mamba.dataset_conversion.formats.folders import ById, by_id, list_files, pair_up, walk, wrong_layout

PARTS = ("Training", "Validation", "Test")
IMAGE, MASK = re.compile(r"(ISIC_\d+)", re.IGNORECASE), re.compile(r"(ISIC_\d+)_segmentation", re.IGNORECASE)
IMAGE_ENDINGS, MASK_ENDINGS = (".jpg", ".jpeg", ".png"), (".png",)


def find_cases(data_set: str, image_folder: str, mask_folder: str, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """Training cases, and the official validation and test as test cases, with labels if their masks are there.

    Args:
        image_folder, mask_folder: how the challenge names its folders; `{part}` stands for Training, Validation or
            Test.
    Raises:
        ValueError: `folder` does not hold the challenge's training folders.
    """
    cases: list[Case] = []
    bad = []
    for part in PARTS:
        images = _files(folder, image_folder.format(part=part), IMAGE_ENDINGS, IMAGE)
        masks = _files(folder, mask_folder.format(part=part), MASK_ENDINGS, MASK)
        test, stratum = part != "Training", part.lower()
        if not test and not images:
            names = image_folder.format(part=part), mask_folder.format(part=part)
            layout = f"{names[0]}/ISIC_0000000.jpg and {names[1]}/ISIC_0000000_segmentation.png"
            raise wrong_layout(folder, data_set, layout)
        if test and not masks:
            cases += [Case(id, id, paths[0], None, stratum, test) for id, paths in images.items() if len(paths) == 1]
            images = {id: paths for id, paths in images.items() if len(paths) > 1}
        pairs, unpaired = pair_up(images, masks)
        cases += [Case(id, id, *pair, stratum, test) for id, pair in pairs.items()]
        bad += unpaired
    return cases, bad


def _files(folder: Path, name: str, endings: tuple[str, ...], pattern: re.Pattern[str]) -> ById:
    """The files of each id in the folders of that name; some programs unpack a zip into one more folder of its name."""
    wanted = re.compile(re.escape(name).replace("Test", "Test(_v2)?"), re.IGNORECASE)
    paths = [path for place in walk(folder) if wanted.fullmatch(place.name) for path in list_files(place, endings)]
    return by_id(paths, lambda stem: match[1].upper() if (match := pattern.fullmatch(stem)) else None)


ISIC2017 = Dataset(
    name="ISIC2017",
    what="dermoscopy, 2750 images; official validation and test become imagesTs",
    segments="lesion",
    never_split="image",
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images, ISIC 2017 part 1",
    reference="Codella et al., Skin lesion analysis toward melanoma detection: a challenge at ISBI 2017, ISBI 2018, "
    "doi:10.1109/ISBI.2018.8363547, https://challenge.isic-archive.com/data/#2017",
    licence="CC0",
    release="2017",
    find_cases=partial(find_cases, "ISIC 2017", "ISIC-2017_{part}_Data", "ISIC-2017_{part}_Part1_GroundTruth"),
)
ISIC2018 = Dataset(
    name="ISIC2018",
    what="dermoscopy, 3694 images; official validation and test become imagesTs",
    segments="lesion",
    never_split="image",
    labels={"background": 0, "lesion": 1},
    description="Lesion segmentation in dermoscopic images, ISIC 2018 task 1",
    reference="Codella et al., Skin lesion analysis toward melanoma detection 2018, arXiv:1902.03368; Tschandl et al., "
    "Scientific Data 2018, doi:10.1038/sdata.2018.161, https://challenge.isic-archive.com/data/#2018",
    licence="CC BY-NC 4.0",
    release="2018",
    find_cases=partial(find_cases, "ISIC 2018", "ISIC2018_Task1-2_{part}_Input", "ISIC2018_Task1_{part}_GroundTruth"),
)
