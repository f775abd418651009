"""Sunnybrook's four layouts: which contours and images belong to which patient."""

import csv
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_mamba.dataset_conversion.formats.folders import wrong_layout

PATIENT_TABLES = ("scd_patientdata.csv", "link.csv")  # with PatientID, OriginalID; with patient_id, original_id
LAYOUTS = (
    f"(A) SCD_IMAGES_01/SCD0000101/CINESAX_300/*.dcm with {PATIENT_TABLES[0]}, "
    "(B) TrainingDataDICOM/SC-HF-I-01/DICOM/*.dcm, (C) challenge_training/SC-HF-I-1/IM-0004-*.dcm, "
    f"(D) dicoms/SCD0000101/*.dcm with {PATIENT_TABLES[1]}; "
    "each with contours SC-HF-I-01/.../IM-0001-*-icontour-manual.txt"
)
_PATIENT = re.compile(r"SC-(HF-I|HF-NI|HYP|N)-0*(\d+)", re.IGNORECASE)
_CARDIAC_ATLAS = re.compile(r"SCD\d{7}", re.IGNORECASE)
_CONTOUR = re.compile(r"IM-\d+-(\d+)-([io])contour-manual\.txt", re.IGNORECASE)
_FRAME = re.compile(r"IM-(\d+)-(\d+)", re.IGNORECASE)

# The training third of the MICCAI 2009 challenge; the other patients were validation and online test.
TRAINING = frozenset(
    f"SC-{kind}-{number:02d}"
    for kind, numbers in {
        "HF-I": (1, 2, 4, 40),
        "HF-NI": (3, 4, 34, 36),
        "HYP": (1, 3, 38, 40),
        "N": (2, 3, 40),
    }.items()
    for number in numbers
)
# Layout C keeps all series of a patient in one folder. By patient, the short-axis series that the contours belong to.
_SERIES = {
    "HF-I": {1: 4, 2: 106, 4: 116, 5: 156, 6: 180, 7: 209, 8: 226, 9: 241, 10: 24, 11: 43, 12: 62, 40: 134},
    "HF-NI": {3: 379, 4: 501, 7: 523, 11: 270, 12: 286, 13: 304, 14: 331, 15: 359, 31: 401, 33: 424, 34: 446, 36: 474},
    "HYP": {1: 550, 3: 650, 6: 767, 7: 7, 8: 796, 9: 3, 10: 579, 11: 601, 12: 629, 37: 702, 38: 734, 40: 755},
    "N": {2: 898, 3: 915, 5: 963, 6: 981, 7: 1009, 9: 1031, 10: 851, 11: 878, 40: 944},
}


@dataclass
class Patient:
    """Contour files by frame number, for endocardium and epicardium; `series` holds the image files of each series.

    `doubles` are contour files for a frame that already has one.
    """

    endo: dict[int, Path] = field(default_factory=dict)
    epi: dict[int, Path] = field(default_factory=dict)
    doubles: list[Path] = field(default_factory=list)
    series: dict[str, list[Path]] = field(default_factory=dict)


def find_patients(folder: Path) -> dict[str, Patient]:
    """The patients by id, `SC-HF-I-01`: with two digits, however the source writes it.

    Raises:
        ValueError: none of the layouts, or layout A or D without its patient table.
    """
    patients: dict[str, Patient] = {}
    originals = None
    for base, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        place = Path(base)
        for name in sorted(files):
            contour = _CONTOUR.fullmatch(name)
            if contour:
                id = _patient_of(place.relative_to(folder), folder.name)
                if id:
                    _add_contour(patients.setdefault(id, Patient()), contour, place / name)
        images = [place / name for name in sorted(files) if name.lower().endswith(".dcm") and not name.startswith(".")]
        if not images:
            continue
        atlas = [part.upper() for part in place.parts if _CARDIAC_ATLAS.fullmatch(part)]
        if atlas:
            if place.name.upper().startswith("CINESAX") or place.name.upper() == atlas[-1]:
                originals = _read_patient_table(folder) if originals is None else originals
                patients.setdefault(originals.get(atlas[-1], atlas[-1]), Patient()).series[base] = images
        else:
            id = _patient_of(place.relative_to(folder), folder.name)
            if id:
                patients.setdefault(id, Patient()).series |= _series_of(place, id, images)
    has_contours = any(patient.endo or patient.epi for patient in patients.values())
    if not has_contours or not any(patient.series for patient in patients.values()):
        found = "no images of a known layout" if has_contours else "no contours" if patients else None
        raise wrong_layout(folder, "Sunnybrook", LAYOUTS, found)
    return patients


def kind_of(id: str) -> str:
    """HF-I, HF-NI, HYP or N: heart failure with and without infarction, hypertrophy, normal."""
    match = _PATIENT.fullmatch(id)
    return match.group(1) if match else "unknown"


def frame_number(path: Path) -> int | None:
    """The number in `IM-0001-0048.dcm` or `48.dcm`."""
    match = _FRAME.match(path.stem)
    if match:
        return int(match.group(2))
    return int(path.stem) if path.stem.isdecimal() else None


def _patient_of(place: Path, source_name: str) -> str | None:
    for part in reversed((source_name, *place.parts)):
        match = _PATIENT.fullmatch(part)
        if match:
            return _padded(match)
    return None


def _padded(match: re.Match[str]) -> str:
    return f"SC-{match.group(1).upper()}-{int(match.group(2)):02d}"


def _add_contour(patient: Patient, contour: re.Match[str], path: Path) -> None:
    frames = patient.endo if contour.group(2).lower() == "i" else patient.epi
    if int(contour.group(1)) in frames:
        patient.doubles.append(path)
    else:
        frames[int(contour.group(1))] = path


def _series_of(place: Path, id: str, images: list[Path]) -> dict[str, list[Path]]:
    """Layout B: a folder is a series. Layout C: the series in `_SERIES`, or all series if the folder lacks that one."""
    if not _PATIENT.fullmatch(place.name):
        return {str(place): images}
    number = _SERIES.get(kind_of(id), {}).get(int(id.rpartition("-")[2]))
    by_series: dict[int, list[Path]] = {}
    for path in images:
        frame = _FRAME.match(path.stem)
        by_series.setdefault(int(frame.group(1)) if frame else -1, []).append(path)
    if number in by_series:
        return {str(place): by_series[number]}
    return {f"{place} series {series:04d}": paths for series, paths in by_series.items()}


def _read_patient_table(folder: Path) -> dict[str, str]:
    """From the Cardiac Atlas id, SCD0000101, to the padded id of the contours."""
    found = sorted(path for name in PATIENT_TABLES for path in folder.rglob(name))
    if not found:
        raise ValueError(
            f"{folder}: no {PATIENT_TABLES[0]}, which tells which contours belong to SCD... folders, and no "
            f"{PATIENT_TABLES[1]}; put one there"
        )
    path = found[0]
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: cannot be read as a table ({error}); fetch this file again") from error
    columns = [name.strip().replace("_", "").lower() for name in rows[0]] if rows else []
    originals = {}
    for line, row in enumerate(rows[1:], start=2):
        values = dict(zip(columns, map(str.strip, row)))
        match = _PATIENT.fullmatch(values.get("originalid", ""))
        patient = values.get("patientid", "").upper()
        if row and not (match and patient):
            raise ValueError(
                f"{path}, line {line}: expected PatientID and OriginalID like SCD0000101, SC-HF-I-1; got {row}"
            )
        if match:
            originals[patient] = _padded(match)
    return originals
