"""Sunnybrook trees in the four layouts: small DICOM slices of a bright disk in an oblique stack, with contours."""

import struct
from pathlib import Path

import numpy as np

SIZE = (40, 48)  # (H, W)
BEAT = 4  # images per heart beat
ED, ES = 4, 2  # the image of the beat at end-diastole and end-systole, from 1
SPACING, DISTANCE = (1.25, 1.25), 9.0  # mm; the header says a thickness of 8
COSINES = (0.8, 0.6, 0.0), (0.0, 0.0, -1.0)
NORMAL = np.cross(*COSINES)
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
IDS = {"SC-HF-I-01": "SCD0000101", "SC-HF-NI-03": "SCD0001501", "SC-HYP-06": "SCD0002901", "SC-N-02": "SCD0003701"}
SERIES = {"SC-HF-I-01": 4, "SC-HF-NI-03": 379, "SC-HYP-06": 767, "SC-N-02": 898}  # in layout C


def write_dicom(
    path: Path, number: int, position: float, value: int = 900, slope: float = 1, intercept: float = 0
) -> None:
    """One slice with a bright disk; `value` is stored, beyond 8 bits. Explicit VR little endian, element by element."""
    y, x = np.indices(SIZE)
    pixels = np.where((x - 20) ** 2 + (y - 18) ** 2 <= 36, value, 100).astype("<i2")
    origin = np.array([-30.0, 12.0, 50.0]) + position * NORMAL
    meta = b"".join(
        [
            _element(0x0002, 0x0001, "OB", b"\0\1"),
            _element(0x0002, 0x0002, "UI", MR_IMAGE),
            _element(0x0002, 0x0003, "UI", f"1.2.3.{number}"),
            _element(0x0002, 0x0010, "UI", "1.2.840.10008.1.2.1"),
        ]
    )
    content = [
        _element(0x0008, 0x0016, "UI", MR_IMAGE),
        _element(0x0008, 0x0018, "UI", f"1.2.3.{number}"),
        _element(0x0008, 0x0060, "CS", "MR"),
        _element(0x0010, 0x0010, "PN", "DOE^JANE"),
        _element(0x0018, 0x0050, "DS", "8"),
        _element(0x0018, 0x1090, "IS", str(BEAT)),
        _element(0x0020, 0x0013, "IS", str(number)),
        _element(0x0020, 0x0032, "DS", "\\".join(f"{value:.6f}" for value in origin)),
        _element(0x0020, 0x0037, "DS", "\\".join(f"{value:.6f}" for value in (*COSINES[0], *COSINES[1]))),
        _element(0x0028, 0x0002, "US", 1),
        _element(0x0028, 0x0004, "CS", "MONOCHROME2"),
        _element(0x0028, 0x0010, "US", SIZE[0]),
        _element(0x0028, 0x0011, "US", SIZE[1]),
        _element(0x0028, 0x0030, "DS", "\\".join(map(str, SPACING))),
        _element(0x0028, 0x0100, "US", 16),
        _element(0x0028, 0x0101, "US", 16),
        _element(0x0028, 0x0102, "US", 15),
        _element(0x0028, 0x0103, "US", 1),
        _element(0x0028, 0x1052, "DS", str(intercept)),
        _element(0x0028, 0x1053, "DS", str(slope)),
        _element(0x7FE0, 0x0010, "OW", pixels.tobytes()),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + _element(0x0002, 0x0000, "UL", len(meta)) + meta + b"".join(content))


def _element(group: int, element: int, kind: str, value: str | int | bytes) -> bytes:
    if isinstance(value, int):
        value = struct.pack("<I" if kind == "UL" else "<H", value)
    elif isinstance(value, str):
        value = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    length = struct.pack("<HI", 0, len(value)) if kind in ("OB", "OW") else struct.pack("<H", len(value))
    return struct.pack("<HH", group, element) + kind.encode() + length + value


def write_contour(folder: Path, number: int, kind: str, radius: float, centre=(20.0, 18.0)) -> Path:
    """A circle in steps of 0.5 pixels, not closed."""
    folder.mkdir(parents=True, exist_ok=True)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    points = np.round(2 * (np.array(centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))) / 2
    path = folder / f"IM-0001-{number:04d}-{kind}contour-manual.txt"
    path.write_text("".join(f"{x:.2f} {y:.2f}\r\n" for x, y in points))
    return path


def frames(slices: int = 3) -> list[tuple[int, float, bool]]:
    """(InstanceNumber, position in mm, at ED) of every image: one beat per slice; positions decrease."""
    return [(s * BEAT + t, -s * DISTANCE, t == ED) for s in range(slices) for t in range(1, BEAT + 1)]


def write_contours(folder: Path, slices: int = 3) -> None:
    """Endocardium at ED and ES, epicardium at ED, and papillary muscles, which are not used."""
    for number, _, diastole in frames(slices):
        if diastole or number % BEAT == ES:
            write_contour(folder, number, "i", 6 if diastole else 4)
        if diastole:
            write_contour(folder, number, "o", 9)
            write_contour(folder, number, "p1", 2)


def layout_a(root: Path, level: str = "SCD_IMAGES_01") -> Path:
    """Cardiac Atlas: its table starts with a byte-order mark and does not pad ids; there is also a long-axis series."""
    for id, number in IDS.items():
        for instance, position, _ in frames():
            write_dicom(root / level / number / "CINESAX_300" / f"IM-0003-{instance:04d}.dcm", instance, position)
        write_dicom(root / level / number / "CINELAX_301" / "IM-0004-0004.dcm", 4, 0)
        write_contours(root / "SCD_ManualContours" / id / "contours-manual" / "IRCCI-expert")
    lines = [f"{number},{id[:-2]}{int(id[-2:])}\n" for id, number in IDS.items()]
    (root / "scd_patientdata.csv").write_text("\ufeffPatientID,OriginalID\n" + "".join(lines), encoding="utf-8")
    return root


def layout_b(root: Path) -> Path:
    """MICCAI 2009, with the file listings beside the patients."""
    part = root / "Sunnybrook Cardiac MR Database DICOMPart3" / "TrainingDataDICOM"
    contours = root / "Sunnybrook Cardiac MR Database ContoursPart3" / "TrainingDataContours"
    for id in IDS:
        for instance, position, _ in frames():
            write_dicom(part / id / "DICOM" / f"IM-0001-{instance:04d}.dcm", instance, position)
        write_contours(contours / id / "contours-manual" / "IRCCI-expert")
        write_contour(contours / id / "contours-auto" / "FGR", 4, "i", 1).rename(
            contours / id / "contours-auto" / "FGR" / "IM-0001-0004-icontour-auto.txt"
        )
    (part / "file-listings").mkdir()
    (part / "file-listings" / "SC-HF-I-01.txt").write_text("DICOM\n")
    (contours / "file-listings").mkdir()
    return root


def layout_c(root: Path) -> Path:
    """Kaggle: all series of a patient in one folder."""
    for i, id in enumerate(IDS):
        part = ("challenge_training", "challenge_validation", "challenge_online")[i % 3]
        place = root / part / f"{id[:-2]}{int(id[-2:])}"
        for instance, position, _ in frames():
            write_dicom(place / f"IM-{SERIES[id]:04d}-{instance:04d}.dcm", instance, position)
            write_dicom(place / f"IM-{SERIES[id] + 1:04d}-{instance:04d}.dcm", instance, position, value=300)
        write_contours(root / "TrainingDataContours" / id / "contours-manual" / "IRCCI-expert")
    return root


def layout_d(root: Path) -> Path:
    """Copies: images by number, contours in a folder for each kind, another table."""
    for id, number in IDS.items():
        for instance, position, _ in frames():
            write_dicom(root / "dicoms" / number / f"{instance}.dcm", instance, position)
        patient = root / "contourfiles" / f"{id[:-2]}{int(id[-2:])}"
        write_contours(patient / "i-contours")
        (patient / "o-contours").mkdir()
        for path in patient.glob("i-contours/*-ocontour-manual.txt"):
            path.rename(patient / "o-contours" / path.name)
    lines = [f"{number},{id[:-2]}{int(id[-2:])}\n" for id, number in IDS.items()]
    (root / "link.csv").write_text("patient_id,original_id\n" + "".join(lines))
    return root
