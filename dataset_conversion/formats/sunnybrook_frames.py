"""Sunnybrook's contoured frames: find the image of each contour, detect wrong contour sets, and stack the frames."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from nnunet_mamba.dataset_conversion.dataset import BadCase
from nnunet_mamba.dataset_conversion.formats.contours import fill_contour, read_contour
from nnunet_mamba.dataset_conversion.formats.dicom import Header, read_header
from nnunet_mamba.dataset_conversion.formats.sunnybrook_tree import Patient, frame_number

# How much of the endocardium may lie outside the epicardium, as a slip of the pen: up to either number.
OUTSIDE_PIXELS, OUTSIDE_SHARE = 10, 0.05
WRONG_FRAMES = 0.25  # share of frames with more outside, above which the contours are another patient's
GAP = 1.5  # of the usual slice distance: a larger step means that a slice is missing

Images = dict[int, tuple[Path, Header]]  # by InstanceNumber


@dataclass(frozen=True)
class Frame:
    """The image file of one slice at one time, with its contour files by name: "endo", "epi"."""

    image: Path
    contours: dict[str, Path]
    header: Header


def find_frames(id: str, patient: Patient, target: str) -> tuple[list[Frame], list[BadCase]]:
    """The frames with the contours of `target` (endo, epi, both), by number, and those that cannot be used."""
    bad = [BadCase(id, f"{path}: a second contour for this frame of {id}") for path in patient.doubles]
    endo, epi = patient.endo, patient.epi
    if not endo and not epi:
        return [], [*bad, BadCase(id, f"{_first(patient)}: images of {id}, for which there are no contours")]
    if not patient.series:
        named = min([*endo.values(), *epi.values()])
        return [], [*bad, BadCase(id, f"{named}: contours of {id}, for which there are no images")]
    wanted = {"endo": endo.keys(), "epi": epi.keys(), "both": endo.keys() & epi.keys()}[target]
    if target == "both":
        for number in sorted(epi.keys() - endo.keys()):
            reason = f"{epi[number]}: an epicardium without an endocardium"
            bad.append(BadCase(f"{id}_{number:04d}", reason, expected=True))
    images, wrong = _images_of(id, patient, wanted)
    bad += wrong
    frames = []
    for number, (image, header) in sorted(images.items()):
        contours = {name: files[number] for name, files in (("endo", endo), ("epi", epi)) if number in files}
        frames.append(Frame(image, contours, header))
    if target != "endo":
        frames, wrong = _drop_wrong_sets(id, frames)
        bad += wrong
    return frames, bad


def case_id(id: str, frame: Frame) -> str:
    """`SC-HF-I-01_0048`: patient and frame number."""
    return f"{id}_{frame.header.number:04d}"


def make_stacks(id: str, frames: list[Frame]) -> dict[str, list[Frame]]:
    """Frames per stack, by position: `SC-HF-I-01_ED` and `_ES`. After a missing slice a new stack begins: `_ED_2`.

    Frames with an epicardium are at end-diastole. So are the other frames at the same time of the beat, if their slice
    has no frame with an epicardium.
    """
    diastolic = {_time(frame) for frame in frames if "epi" in frame.contours}
    taken = {round(frame.header.position, 1) for frame in frames if "epi" in frame.contours}
    phases: dict[str, list[Frame]] = {"ED": [], "ES": []}
    for frame in frames:
        free = round(frame.header.position, 1) not in taken
        same_time = frame.header.images_per_beat is not None and _time(frame) in diastolic
        phases["ED" if "epi" in frame.contours or (free and same_time) else "ES"].append(frame)
    stacks = {}
    for phase, members in phases.items():
        for i, part in enumerate(_without_gaps(sorted(members, key=lambda frame: frame.header.position))):
            stacks[f"{id}_{phase}" + (f"_{i + 1}" if i else "")] = part
    return stacks


def _images_of(id: str, patient: Patient, wanted: Iterable[int]) -> tuple[Images, list[BadCase]]:
    """The wanted images, from the one series that holds them. A file name counts only if the header agrees."""
    bad: list[BadCase] = []
    best: Images = {}
    rivals: list[str] = []
    wanted = set(wanted)
    for name, paths in sorted(patient.series.items()):
        found, wrong = _by_number(id, paths, wanted)
        bad += wrong
        if found and len(found) == len(best):
            rivals.append(name)
        elif len(found) > len(best):
            best, rivals = found, [name]
    if len(rivals) > 1:
        reason = f"{', '.join(rivals)}: {len(rivals)} series of {id} hold the contoured frames; leave one there"
        return {}, [BadCase(id, reason)]
    broken = {case.id for case in bad}
    for number in sorted(wanted - best.keys()):
        if f"{id}_{number:04d}" not in broken:
            contour = patient.endo.get(number) or patient.epi[number]
            reason = f"{contour}: no image with InstanceNumber {number} in {_first(patient).parent}"
            bad.append(BadCase(f"{id}_{number:04d}", reason))
    return best, bad


def _by_number(id: str, paths: list[Path], wanted: set[int]) -> tuple[Images, list[BadCase]]:
    """Reads the files named after a wanted frame, and the other headers only if frames are still missing."""
    named = [path for path in paths if frame_number(path) in wanted]
    found, bad = _read(id, named)
    broken = {case.id for case in bad}
    if any(number not in found and f"{id}_{number:04d}" not in broken for number in wanted):
        others, _ = _read(id, [path for path in paths if path not in named])
        found = others | found
    return {number: item for number, item in found.items() if number in wanted}, bad


def _read(id: str, paths: list[Path]) -> tuple[Images, list[BadCase]]:
    found: Images = {}
    bad = []
    for path in paths:
        try:
            header = read_header(path)
        except ValueError as error:
            bad.append(BadCase(f"{id}_{frame_number(path) or 0:04d}", str(error)))
        else:
            found.setdefault(header.number, (path, header))
    return found, bad


def _drop_wrong_sets(id: str, frames: list[Frame]) -> tuple[list[Frame], list[BadCase]]:
    """Drop frames whose endocardium is too far outside the epicardium, and all frames of another patient's contours."""
    outside = {case_id(id, frame): text for frame in frames if (text := _outside(frame))}
    if len(outside) > WRONG_FRAMES * len(frames):
        first = next(iter(outside.values()))
        reason = f"{first}; so in {len(outside)} of {len(frames)} frames of {id}: contours of another patient?"
        return [], [BadCase(id, reason)]
    bad = [BadCase(name, text) for name, text in outside.items()]
    return [frame for frame in frames if case_id(id, frame) not in outside], bad


def _outside(frame: Frame) -> str | None:
    """By how much the endocardium leaves the epicardium. Broken contour files are left to the verification."""
    if len(frame.contours) < 2:
        return None
    endo, epi = frame.contours["endo"], frame.contours["epi"]
    try:
        points = np.array(read_contour(endo) + read_contour(epi))
        if points.min() < 0 or points.max() > 4096:
            return None
        size = (int(points[:, 1].max()) + 1, int(points[:, 0].max()) + 1)
        inner, outer = fill_contour(endo, size), fill_contour(epi, size)
    except ValueError:
        return None
    pixels = np.count_nonzero(inner & ~outer)
    share = pixels / np.count_nonzero(inner)
    if pixels <= OUTSIDE_PIXELS or share <= OUTSIDE_SHARE:
        return None
    return f"{endo}: {pixels} pixels ({share:.0%}) of the endocardium lie outside the epicardium {epi.name}"


def _without_gaps(frames: list[Frame]) -> list[list[Frame]]:
    if not frames:
        return []
    steps = np.diff([frame.header.position for frame in frames])
    usual = median(steps) if len(steps) else 0
    parts = [[frames[0]]]
    for frame, step in zip(frames[1:], steps, strict=True):
        if step > GAP * usual:
            parts.append([])
        parts[-1].append(frame)
    return parts


def _time(frame: Frame) -> int:
    return (frame.header.number - 1) % (frame.header.images_per_beat or 1)


def _first(patient: Patient) -> Path:
    return min(path for paths in patient.series.values() for path in paths)
