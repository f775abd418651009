"""Sunnybrook: cine MRI of the left ventricle of 45 patients with contours (Radau et al., MIDAS Journal 2009).

    nnunet_mamba convert Sunnybrook -i Sunnybrook -d 503
    python -m nnunet_mamba.dataset_conversion.sunnybrook -i Sunnybrook -d 503 --target both --as stacks

Reads the images and the manual contours in the layouts in circulation, at any depth of a folder or zip:

    (A) Cardiac Atlas    SCD_IMAGES_01/SCD0000101/CINESAX_300/*.dcm, with scd_patientdata.csv
    (B) MICCAI 2009      TrainingDataDICOM/SC-HF-I-01/DICOM/IM-0001-NNNN.dcm
    (C) Kaggle           challenge_training/SC-HF-I-1/IM-<series>-NNNN.dcm
        contours of all  SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-NNNN-{i,o}contour-manual.txt

NNNN is the DICOM InstanceNumber. `i` is the endocardium, drawn at end-diastole (ED) and end-systole (ES), `o` the epicardium, at
ED only. Their polygons are filled, outline included. `--target endo` takes all frames that have it, `epi` those at ED, `both` those
at ED that have both: two regions, of which epi contains endo (values: 1 the wall, 2 the cavity). An endocardium may leave the
epicardium by a few pixels; where a set does so by much it is another patient's, and refused.

Cases are NIfTI, as spacing, orientation and 16-bit values would be lost in PNG: `--as slices` one frame, (1, H, W); `--as stacks`
the frames of a patient at ED or ES, ordered by position, with the distance of their slices as spacing. MRI has no unit, so nnU-Net
normalises each image by its own mean and deviation.

Folds keep a patient together and are stratified by diagnosis. `--official-test` puts the challenge's validation and online sets (30
patients) into imagesTs. The papers cut 160x160 out of the middle; whom they hold out is not known here, so `--protocol paper` leaves
the folds as they are.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.contours import fill_contour
from nnunet_mamba.dataset_conversion.dicom import stack
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.sunnybrook_frames import Frame, case_id, find_frames, make_stacks
from nnunet_mamba.dataset_conversion.sunnybrook_tree import TRAINING, find_patients, kind_of

TARGETS = ("endo", "epi", "both")
KINDS = ("slices", "stacks")
WALL, CAVITY = 1, 2  # of --target both


def convert(
    source: str | Path,
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    target: str = "endo",
    kind: str = "slices",
    official_test: bool = False,
) -> Path:
    """Convert Sunnybrook into `nnUNet_raw/DatasetXXX_Sunnybrook` and return that folder.

    Args:
        target: "endo", "epi" or "both", see above.
        kind: "slices" or "stacks".
        official_test: the challenge's validation and online patients go to imagesTs and labelsTs and into no fold.
            The other arguments are those of `ph2.convert`; "paper" crops to the middle 160x160.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    for option, value, known in (("--target", target, TARGETS), ("--as", kind, KINDS)):
        if value not in known:
            raise ValueError(f"unknown {option} {value!r}; known: {', '.join(known)}")
    own = {"target": target, "as": kind, "official_test": official_test}
    recipe = make_recipe(target, kind, official_test)
    return convert_dataset(recipe, source, dataset_id, size, test, seed, protocol, processes, skip_bad, own)


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument(
        "--target", choices=TARGETS, default="endo", help="which contours (default: endo); both: as regions"
    )
    parser.add_argument(
        "--as", dest="kind", choices=KINDS, default="slices", help="a case: a frame, or a stack (default: slices)"
    )
    parser.add_argument(
        "--official-test", action="store_true", help="validation and online patients to imagesTs, labelsTs"
    )


def options(args: argparse.Namespace) -> dict[str, str | bool]:
    """For `convert`."""
    return {"target": args.target, "kind": args.kind, "official_test": args.official_test}


def make_recipe(target: str, kind: str, official_test: bool) -> Recipe:
    """The data set with these contours and cases."""
    labels = {"epi": (WALL, CAVITY), "endo": CAVITY} if target == "both" else {target: 1}
    return Recipe(
        name="Sunnybrook",
        channel_names=("MRI",),
        labels={"background": 0, **labels},
        description="Left ventricle in short-axis cine MRI, the challenge data of MICCAI 2009",
        reference="Radau et al., Evaluation framework for algorithms segmenting short axis cardiac MRI, The MIDAS Journal 2009, "
        "doi:10.54294/g80ruo, https://www.cardiacatlas.org/sunnybrook-cardiac-data/",
        licence="CC0 1.0",
        release="2009",
        paper=PaperProtocol(size=(160, 160), crop=True),
        find_cases=partial(find_cases, target, kind, official_test),
        read_case=partial(read_case, target),
        file_ending=".nii.gz",
        reader_writer="SimpleITKIO",
        regions_class_order=(WALL, CAVITY) if target == "both" else None,
    )


def find_cases(target: str, kind: str, official_test: bool, folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and the frames and patients that cannot be used.

    Raises:
        ValueError: `folder` holds none of the known layouts.
    """
    cases, bad = [], []
    for id, patient in sorted(find_patients(folder).items()):
        frames, wrong = find_frames(id, patient, target)
        bad += wrong
        stacks = make_stacks(id, frames) if kind == "stacks" else {case_id(id, frame): [frame] for frame in frames}
        test = official_test and id not in TRAINING
        cases += [_make_case(name, id, target, test, members) for name, members in stacks.items()]
    return cases, bad


def read_case(target: str, case: Case) -> tuple[sitk.Image, sitk.Image]:
    """The frames as one (D, H, W) volume and their labels, of the same geometry, uint8."""
    image = stack([frame.image for frame in case.extra])
    size = image.GetHeight(), image.GetWidth()
    labels = sitk.GetImageFromArray(np.stack([_labels(target, frame, size) for frame in case.extra]))
    labels.CopyInformation(image)
    return image, labels


def _labels(target: str, frame: Frame, size: tuple[int, int]) -> np.ndarray:
    if target != "both":
        return fill_contour(frame.inner if target == "endo" else frame.outer, size).astype(np.uint8)
    labels = np.where(fill_contour(frame.outer, size), WALL, 0)
    labels[fill_contour(frame.inner, size)] = CAVITY
    return labels.astype(np.uint8)


def _make_case(name: str, id: str, target: str, test: bool, frames: list[Frame]) -> Case:
    first = frames[0]
    mask = first.outer if target == "epi" else first.inner
    return Case(name, id, first.image, mask, kind_of(id), test, tuple(frames))


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("Sunnybrook"))
