"""Sunnybrook: cine MRI of the left ventricle of 45 patients with contours (Radau et al., MIDAS Journal 2009).

    nnunet_mamba convert Sunnybrook -i Sunnybrook -d 503
    nnunet_mamba convert Sunnybrook -i Sunnybrook -d 503 --target both --as stacks

Reads the images and the manual contours in the layouts that circulate, at any depth of a folder or zip:

    (A) Cardiac Atlas    SCD_IMAGES_01/SCD0000101/CINESAX_300/*.dcm, with scd_patientdata.csv
    (B) MICCAI 2009      TrainingDataDICOM/SC-HF-I-01/DICOM/IM-0001-NNNN.dcm
    (C) Kaggle           challenge_training/SC-HF-I-1/IM-<series>-NNNN.dcm
    (D) copies           dicoms/SCD0000101/NNNN.dcm, with link.csv
    contours of A, B, C  SC-HF-I-01/contours-manual/IRCCI-expert/IM-0001-NNNN-{i,o}contour-manual.txt
    contours of D        contourfiles/SC-HF-I-1/{i,o}-contours/IM-0001-NNNN-{i,o}contour-manual.txt

NNNN is the DICOM InstanceNumber. `i` is the endocardium, drawn at end-diastole (ED) and end-systole (ES). `o` is the
epicardium, drawn at ED only. The polygons are filled, outline included. `--target endo` takes all frames with an
endocardium, `epi` the ED frames, `both` the ED frames with both contours, as two regions: epi contains endo (values: 1
wall, 2 cavity). An endocardium may leave the epicardium by a few pixels. If it often leaves it by more, the contours
are another patient's, which is an error.

Cases are NIfTI, because PNG would lose spacing, orientation and 16-bit values. With `--as slices` a case is one frame,
(1, H, W). With `--as stacks` it is a patient's frames at ED or ES, ordered by position, with the slice distance as
spacing. MRI has no unit, so nnU-Net normalises each image by its own mean and standard deviation.

Folds keep a patient together and are stratified by diagnosis. `--official-test` puts the challenge's validation and
online sets (30 patients) into imagesTs. The papers crop to the middle 160x160. They do not say whom they hold out, so
`--protocol paper` leaves the folds as they are.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, PaperProtocol
from nnunet_mamba.dataset_conversion.formats.contours import fill_contour
from nnunet_mamba.dataset_conversion.formats.dicom import stack
from nnunet_mamba.dataset_conversion.formats.sunnybrook_frames import Frame, case_id, find_frames, make_stacks
from nnunet_mamba.dataset_conversion.formats.sunnybrook_tree import TRAINING, find_patients, kind_of

WALL, CAVITY = 1, 2  # with --target both


def find_cases(
    folder: Path, target: str = "endo", kind: str = "slices", official_test: bool = False
) -> tuple[list[Case], list[BadCase]]:
    """The cases below `folder`, and the frames and patients that cannot be used.

    Raises:
        ValueError: `folder` holds none of the known layouts.
    """
    cases: list[Case] = []
    bad = []
    for id, patient in tqdm(sorted(find_patients(folder).items()), desc=f"{'finding':<10}", unit="patient"):
        frames, wrong = find_frames(id, patient, target)
        bad += wrong
        stacks = make_stacks(id, frames) if kind == "stacks" else {case_id(id, frame): [frame] for frame in frames}
        test = official_test and id not in TRAINING
        for name, members in stacks.items():
            mask = members[0].contours["epi" if target == "epi" else "endo"]
            cases.append(Case(name, id, members[0].image, mask, kind_of(id), test, tuple(members)))
    return cases, bad


def read_case(case: Case, target: str = "endo") -> tuple[sitk.Image, sitk.Image]:
    """The frames as one volume (D, H, W), and their labels (D, H, W) uint8 with the same geometry."""
    image = stack([frame.image for frame in case.extra])
    size = image.GetHeight(), image.GetWidth()
    labels = sitk.GetImageFromArray(np.stack([_labels(target, frame, size) for frame in case.extra]))
    labels.CopyInformation(image)
    return image, labels


def with_options(dataset: Dataset, target: str, kind: str, official_test: bool) -> Dataset:
    """The data set with these contours, cases and test cases."""
    both = target == "both"
    return replace(
        dataset,
        labels={"background": 0, **({"epi": (WALL, CAVITY), "endo": CAVITY} if both else {target: 1})},
        regions_class_order=(WALL, CAVITY) if both else None,
        find_cases=partial(find_cases, target=target, kind=kind, official_test=official_test),
        read_case=partial(read_case, target=target),
    )


def _labels(target: str, frame: Frame, size: tuple[int, int]) -> np.ndarray:
    if target != "both":
        return fill_contour(frame.contours[target], size).astype(np.uint8)
    labels = np.where(fill_contour(frame.contours["epi"], size), WALL, 0)
    labels[fill_contour(frame.contours["endo"], size)] = CAVITY
    return labels.astype(np.uint8)


SUNNYBROOK = Dataset(
    name="Sunnybrook",
    what="cardiac cine MRI, 45 patients, four layouts",
    segments="endocardium, epicardium or both",
    never_split="patient; balanced over diagnosis",
    labels={"background": 0, "endo": 1},
    description="Left ventricle in short-axis cine MRI, the challenge data of MICCAI 2009",
    reference="Radau et al., Evaluation framework for algorithms segmenting short axis cardiac MRI, "
    "The MIDAS Journal 2009, doi:10.54294/g80ruo, https://www.cardiacatlas.org/sunnybrook-cardiac-data/",
    licence="CC0 1.0",
    release="2009",
    find_cases=find_cases,
    read_case=read_case,
    paper=PaperProtocol(size=(160, 160), crop=True),
    channel_names=("MRI",),
    file_ending=".nii.gz",
    reader_writer="SimpleITKIO",
    options=(
        Option("--target", "which contours; both: as regions", default="endo", choices=("endo", "epi", "both")),
        Option("--as", "a case is a frame or a stack", "slices", choices=("slices", "stacks"), keyword="kind"),
        Option("--official-test", "validation and online patients to imagesTs, labelsTs", default=False),
    ),
    with_options=with_options,
)
