"""Synapse (BTCV): abdominal organs in 30 CT scans (Landman et al. 2015, Multi-Atlas Labeling Beyond the Cranial Vault).

    nnunet_mamba convert Synapse -i Abdomen -d 509
    nnunet_mamba convert Synapse -i RawData.zip -d 509 --protocol paper --organs 13

Reads the official tree, from itself, from a folder that holds it (up to four levels down), or from a zip:

    Abdomen/RawData/Training/img/img0001.nii.gz      1 to 10 and 21 to 40
                             label/label0001.nii.gz
    Abdomen/RawData/Testing/img/img0061.nii.gz       20 scans without published labels: listed, not used

`--organs 8` (the default) keeps the organs that TransUNet and SliceMamba segment, `--organs 13` keeps all. Labels are
renumbered from 1 in the order of the original values; the other organs become background.

The 12 scans that these papers test on (1, 2, 3, 4, 8, 22, 25, 29, 32, 35, 36, 38) go to imagesTs and labelsTs, and the
other 18 make the folds. With `--protocol paper` all 30 are training cases, and the 12 are the validation of fold 0.
Sizes stay as they are: the papers' 224x224 is how their loader resamples a slice, and nnU-Net plans its own.

The channel is CT, so nnU-Net clips and normalises by the intensities of the whole data set, which Hounsfield units
allow. Files are NIfTI and keep spacing, origin and direction. Each scan is a group of its own.
"""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, PaperProtocol
from nnunet_mamba.dataset_conversion.formats.folders import (
    NIFTI_ENDINGS,
    by_id,
    find_image_and_mask_folders,
    list_files,
    pair_up,
)

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
LAYOUT = "Abdomen/RawData/Training/{img/img0001.nii.gz, label/label0001.nii.gz}"


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The scans below `folder`, the papers' test scans as test cases, and the scans without labels.

    Raises:
        ValueError: `folder` holds no official tree, or more than one.
    """
    images, labels = find_image_and_mask_folders(folder, "img", "label", "Synapse", LAYOUT)
    pairs, bad = pair_up(
        by_id(list_files(images, NIFTI_ENDINGS), _scan), by_id(list_files(labels, NIFTI_ENDINGS), _scan)
    )
    unlabelled = images.parent.parent / "Testing" / "img"
    if unlabelled.is_dir():
        reason = "a scan of the challenge's test, whose labels are not published"
        bad += [
            BadCase(path.name, f"{path}: {reason}", expected=True) for path in list_files(unlabelled, NIFTI_ENDINGS)
        ]
    return [Case(id, id, *pair, test=id in TEST_SCANS) for id, pair in pairs.items()], bad


def read_case(values: tuple[int, ...], case: Case) -> tuple["SimpleITK.Image", "SimpleITK.Image | None"]:
    """The scan as it is and its labels (D, H, W) uint8: label i where the file holds the i-th of `values`."""
    import SimpleITK as sitk  # here, because it takes 0.2 s and the other data sets do without

    from nnunet_mamba.dataset_conversion.formats.volumes import read_nifti

    image = read_nifti(case.image)
    if case.mask is None:
        return image, None
    labels = read_nifti(case.mask)
    array = sitk.GetArrayViewFromImage(labels)
    unknown = sorted(set(np.unique(array).tolist()) - {0, *ORGANS.values()})
    if unknown:
        named = ", ".join(f"{value:g}" for value in unknown[:5])
        raise ValueError(f"{case.mask}: holds the values {named}; expected 0 to 13")
    renumber = np.zeros(max(ORGANS.values()) + 1, np.uint8)
    renumber[list(values)] = range(1, len(values) + 1)
    renumbered = sitk.GetImageFromArray(renumber[array.astype(np.uint8)])
    renumbered.CopyInformation(labels)
    return image, renumbered


def with_organs(dataset: Dataset, organs: int) -> Dataset:
    """The data set with 8 or 13 organs."""
    values = {name: value for name, value in ORGANS.items() if organs == 13 or name in EIGHT}
    return replace(
        dataset,
        labels={"background": 0, **{name: i for i, name in enumerate(values, start=1)}},
        description=f"Segmentation of {organs} abdominal organs in CT",
        read_case=partial(read_case, tuple(values.values())),
    )


def _scan(stem: str) -> str | None:
    """img0001 for both img0001 and label0001."""
    name = re.fullmatch(r"(?:img|label)(\d+)", stem, re.IGNORECASE)
    return f"img{int(name[1]):04d}" if name else None


SYNAPSE = Dataset(
    name="Synapse",
    what="abdominal CT (BTCV), 30 scans; the papers' 12 test scans become imagesTs, or fold 0 with `--protocol paper`",
    segments="8 or 13 organs",
    never_split="scan",
    labels={"background": 0, **ORGANS},
    description="Segmentation of abdominal organs in CT",
    reference="Landman et al., MICCAI multi-atlas labeling beyond the cranial vault - workshop and challenge, 2015, "
    "doi:10.7303/syn3193805; split: Chen et al., TransUNet, arXiv:2102.04306",
    licence="by registration at Synapse, under its terms of use",
    release="2015",
    find_cases=find_cases,
    read_case=partial(read_case, tuple(ORGANS.values())),
    paper=PaperProtocol(size=None, held_out_groups=TEST_SCANS),
    channel_names=("CT",),
    file_ending=".nii.gz",
    reader_writer="SimpleITKIO",
    options=(Option("--organs", "how many organs are labels", default=8, choices=(8, 13)),),
    with_options=with_organs,
)
