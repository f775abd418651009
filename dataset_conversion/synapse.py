"""Synapse: abdominal CT of 30 patients with 13 organs, "Beyond the Cranial Vault" (Landman et al. 2015, doi:10.7303/syn3193805).

    nnunet_mamba convert Synapse -i Abdomen -d 507
    python -m nnunet_mamba.dataset_conversion.synapse -i Abdomen -d 507 --organs 13

Reads the training part, to four levels below a folder or in a zip; the official test part has no labels:

    Abdomen/RawData/Training/img/img0001.nii.gz
                             label/label0001.nii.gz

Labels are the eight organs of TransUNet's protocol, which most papers use, or with `--organs 13` all. They are numbered anew from 1
in the order of the official values; organs left out are background.

A scan is a patient, and the group that folds keep together. TransUNet's 12 test scans, SliceMamba's too, become imagesTs and
labelsTs; with `--protocol paper` they stay among the training cases and validate in fold 0, so that nnU-Net's own validation gives
the papers' figure. Cases stay volumes with their spacing and orientation: nnU-Net's 2d configuration takes their slices, and the
channel is CT, which it clips and normalises by the intensities of the whole data set, as Hounsfield units mean the same everywhere.
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.tree import name_found, subfolders
from nnunet_mamba.dataset_conversion.volumes import read_nifti

SEARCH_DEPTH = 4
LAYOUT = "RawData/Training/{img/img0001.nii.gz, label/label0001.nii.gz}"
TEST_SCANS = (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38)  # TransUNet's (Chen et al. 2021)
ORGANS = {
    "spleen": 1,
    "right kidney": 2,
    "left kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior vena cava": 9,
    "portal and splenic vein": 10,
    "pancreas": 11,
    "right adrenal gland": 12,
    "left adrenal gland": 13,
}
EIGHT = ("spleen", "right kidney", "left kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas")


def convert(
    source: str | Path,
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    organs: int = 8,
) -> Path:
    """Convert Synapse into `nnUNet_raw/DatasetXXX_Synapse` and return that folder.

    Args:
        organs: 8 or 13. The other arguments are those of `ph2.convert`; "paper" makes the 12 test scans the validation of fold 0.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    if organs not in (8, 13):
        raise ValueError(f"--organs {organs}: wanted 8 or 13")
    recipe = make_recipe(organs, tests=protocol is None)
    return convert_dataset(recipe, source, dataset_id, size, test, seed, protocol, processes, skip_bad, {"organs": organs})


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument("--organs", type=int, choices=(8, 13), default=8, help="classes: 8, as most papers, or 13 (default: 8)")


def options(args: argparse.Namespace) -> dict[str, int]:
    """For `convert`."""
    return {"organs": args.organs}


def make_recipe(organs: int, tests: bool) -> Recipe:
    """The data set with 8 or 13 organs, with or without test cases apart."""
    names = EIGHT if organs == 8 else tuple(ORGANS)
    return Recipe(
        name="Synapse",
        channel_names=("CT",),
        labels={"background": 0, **{name: value for value, name in enumerate(names, start=1)}},
        description="Abdominal organs in CT, the training scans of the multi-atlas labeling challenge beyond the cranial vault",
        reference="Landman et al., MICCAI multi-atlas labeling beyond the cranial vault, 2015, doi:10.7303/syn3193805; the eight organs "
        "and the 12 test scans: Chen et al., TransUNet, arXiv:2102.04306",
        licence="as stated at synapse.org for syn3193805; registration needed",
        release="2015",
        paper=PaperProtocol(size=None, held_out_groups=tuple(map(_group, TEST_SCANS))),
        find_cases=partial(find_cases, tests),
        read_case=partial(read_case, tuple(ORGANS[name] for name in names)),
        file_ending=".nii.gz",
        reader_writer="SimpleITKIO",
    )


def find_cases(tests: bool, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The scans below `folder`, and those that lack an image or a label; with `tests`, the 12 of the papers as test cases.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one.
    """
    root = _find_root(folder)
    images, labels = (_numbered(root / name, name) for name in ("img", "label"))
    cases, bad = [], []
    for number in sorted(images.keys() | labels.keys()):
        case_id = f"Synapse_{number:04}"
        if number not in labels:
            bad.append(BadCase(case_id, f"{images[number]}: a scan without labels; expected {root / 'label'}/label{number:04}.nii.gz"))
        elif number not in images:
            bad.append(BadCase(case_id, f"{labels[number]}: labels without a scan; expected {root / 'img'}/img{number:04}.nii.gz"))
        else:
            test = tests and number in TEST_SCANS
            cases.append(Case(case_id, _group(number), images[number], labels[number], test=test))
    return cases, bad


def read_case(kept: tuple[int, ...], case: Case) -> tuple[sitk.Image, sitk.Image]:
    """Scan and labels, (D, H, W): official value kept[i] becomes i + 1, the other organs' 0."""
    image, official = read_nifti(case.image), read_nifti(case.mask)
    values = sitk.GetArrayViewFromImage(official)
    wrong = sorted({float(value) for value in np.unique(values)} - {0.0, *map(float, ORGANS.values())})
    if wrong:
        raise ValueError(f"{case.mask}: holds the values {wrong[:5]}; expected 0 to {max(ORGANS.values())}")
    renumber = np.zeros(max(ORGANS.values()) + 1, np.uint8)
    renumber[list(kept)] = np.arange(1, len(kept) + 1)
    labels = sitk.GetImageFromArray(renumber[values.astype(np.int64)])
    labels.CopyInformation(official)
    return image, labels


def _group(number: int) -> str:
    return f"{number:04}"


def _numbered(folder: Path, prefix: str) -> dict[int, Path]:
    """img0001.nii.gz, ... by number."""
    files = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = re.fullmatch(rf"{prefix}(\d+)\.nii(\.gz)?", path.name)
        if match:
            files[int(match[1])] = path
    return files


def _find_root(folder: Path) -> Path:
    """The folder that holds img and label."""
    level = [folder]
    for _ in range(SEARCH_DEPTH + 1):
        roots = [path for path in level if _numbered(path / "label", "label")]
        if len(roots) == 1:
            return roots[0]
        if roots:
            raise ValueError(f"{folder}: holds {len(roots)} Synapse trees ({', '.join(map(str, roots))}); give one of them to -i")
        level = [inner for path in level for inner in subfolders(path)]
    raise ValueError(f"{folder}: not the layout of Synapse; expected {LAYOUT}, found {name_found(folder)}")


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("Synapse"))
