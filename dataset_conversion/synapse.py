"""Synapse (BTCV): abdominal organs in 30 CT scans (Landman et al. 2015, Multi-Atlas Labeling Beyond the Cranial Vault).

    nnunet_mamba convert Synapse -i Abdomen -d 509
    python -m nnunet_mamba.dataset_conversion.synapse -i RawData.zip -d 509 --protocol paper --organs 13

Reads the official tree, from the folder that holds it (to four levels down), from itself, or from a zip:

    Abdomen/RawData/Training/img/img0001.nii.gz      1 to 10 and 21 to 40
                             label/label0001.nii.gz
    Abdomen/RawData/Testing/img/img0061.nii.gz       20 scans whose labels nobody has published: listed, not used

`--organs 8` (the default) keeps those that TransUNet and SliceMamba segment, `--organs 13` all; values are renumbered from 1 in
the order of the original values, the other organs become background.

The 12 scans that these papers test on (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38) go to imagesTs and labelsTs, and the other 18
make the folds. With `--protocol paper` all 30 are for training, and the 12 are the validation of fold 0. Sizes stay: the papers'
224x224 is what their loader makes of a slice, and nnU-Net plans its own.

The channel is CT, so nnU-Net clips and normalises by the intensities of the whole data set, as Hounsfield units allow. NIfTI,
with spacing, origin and direction kept. A scan is a patient and a group of its own.
"""

import argparse
import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.pairs import by_id, find_root, list_files, pair_up
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe

if TYPE_CHECKING:
    import SimpleITK

ORGANS = {  # the values of the official labels
    "spleen": 1,
    "right_kidney": 2,
    "left_kidney": 3,
    "gallbladder": 4,
    "esophagus": 5,
    "liver": 6,
    "stomach": 7,
    "aorta": 8,
    "inferior_vena_cava": 9,
    "portal_and_splenic_vein": 10,
    "pancreas": 11,
    "right_adrenal_gland": 12,
    "left_adrenal_gland": 13,
}
EIGHT = ("spleen", "right_kidney", "left_kidney", "gallbladder", "liver", "stomach", "aorta", "pancreas")
TEST_SCANS = tuple(f"img{number:04d}" for number in (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38))
ENDINGS = (".nii.gz", ".nii")
LAYOUT = "Abdomen/RawData/Training/{img/img0001.nii.gz, label/label0001.nii.gz}"


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
        protocol: "paper" makes the papers' 12 test scans the validation of fold 0, instead of imagesTs.
        organs: 8 or 13. The other arguments are those of `ph2.convert`; `size` resamples each slice.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    recipe = make_recipe(organs, protocol == "paper")
    return convert_dataset(
        recipe, source, dataset_id, size, test, seed, protocol, processes, skip_bad, {"organs": organs}
    )


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument(
        "--organs", type=int, choices=(8, 13), default=8, help="how many organs are labels (default: 8)"
    )


def options(args: argparse.Namespace) -> dict[str, int]:
    """For `convert`."""
    return {"organs": args.organs}


def find_cases(in_fold_0: bool, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The scans below `folder`, and those that lack labels; the 12 are test cases unless they are to be `in_fold_0`.

    Raises:
        ValueError: `folder` does not hold the official tree, or more than one; or none of the 12, where they are to be in fold 0.
    """
    images, labels = find_root(folder, ("img",), ("label",), "Synapse", LAYOUT)
    pairs, bad = pair_up(by_id(list_files(images, ENDINGS), _scan), by_id(list_files(labels, ENDINGS), _scan))
    if in_fold_0 and not pairs.keys() & set(TEST_SCANS):
        raise ValueError(
            f"{images}: none of the papers' test scans ({', '.join(TEST_SCANS)}); leave out --protocol paper"
        )
    cases = [Case(id, id, *pair, test=not in_fold_0 and id in TEST_SCANS) for id, pair in pairs.items()]
    unlabelled = images.parent.parent / "Testing" / "img"
    if unlabelled.is_dir():
        reason = "a scan of the challenge's test, whose labels are not published"
        bad += [BadCase(path.name, f"{path}: {reason}", expected=True) for path in list_files(unlabelled, ENDINGS)]
    return cases, bad


def read_case(values: tuple[int, ...], case: Case) -> tuple["SimpleITK.Image", "SimpleITK.Image"]:
    """The scan as it is and its labels (D, H, W) uint8: label i where the file holds the i-th of `values`."""
    import SimpleITK as sitk  # here, so that --help does not load it

    from nnunet_mamba.dataset_conversion.volumes import read_nifti

    image, labels = read_nifti(case.image), read_nifti(case.mask)
    array = sitk.GetArrayViewFromImage(labels)
    unknown = sorted(set(np.unique(array).tolist()) - {0, *ORGANS.values()})
    if unknown:
        raise ValueError(
            f"{case.mask}: holds the values {', '.join(f'{value:g}' for value in unknown[:5])}; expected 0 to 13"
        )
    renumber = np.zeros(max(ORGANS.values()) + 1, np.uint8)
    renumber[list(values)] = range(1, len(values) + 1)
    renumbered = sitk.GetImageFromArray(renumber[array.astype(np.uint8)])
    renumbered.CopyInformation(labels)
    return image, renumbered


def make_recipe(organs: int, in_fold_0: bool) -> Recipe:
    """The recipe for 8 or 13 organs.

    Raises:
        ValueError: another number.
    """
    if organs not in (8, 13):
        raise ValueError(f"--organs takes 8 or 13, got {organs}")
    values = {name: value for name, value in ORGANS.items() if organs == 13 or name in EIGHT}
    return Recipe(
        name="Synapse",
        channel_names=("CT",),
        labels={"background": 0, **{name: i for i, name in enumerate(values, start=1)}},
        description=f"Segmentation of {organs} abdominal organs in CT",
        reference="Landman et al., MICCAI multi-atlas labeling beyond the cranial vault - workshop and challenge, 2015, "
        "doi:10.7303/syn3193805; split: Chen et al., TransUNet, arXiv:2102.04306",
        licence="by registration at Synapse, under its terms of use",
        release="2015",
        paper=PaperProtocol(size=None, held_out_groups=TEST_SCANS),
        find_cases=partial(find_cases, in_fold_0),
        read_case=partial(read_case, tuple(values.values())),
        file_ending=".nii.gz",
        reader_writer="SimpleITKIO",
    )


def _scan(stem: str) -> str | None:
    """img0001 for both img0001 and label0001."""
    name = re.fullmatch(r"(?:img|label)(\d+)", stem, re.IGNORECASE)
    return f"img{int(name[1]):04d}" if name else None


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("Synapse"))
