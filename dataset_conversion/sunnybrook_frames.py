"""Sunnybrook's contoured frames: each contour finds its image, wrong contour sets are found out, frames become stacks."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase
from nnunet_mamba.dataset_conversion.contours import fill_contour, read_contour
from nnunet_mamba.dataset_conversion.dicom import Header, read_header
from nnunet_mamba.dataset_conversion.sunnybrook_tree import Patient, frame_number

OUTSIDE_PIXELS, OUTSIDE_SHARE = (
    10,
    0.05,
)  # of the endocardium outside the epicardium: below either is a draughtsman's slip
WRONG_FRAMES = 0.25  # so many frames outside, and the contours are another patient's
GAP = 1.5  # of the usual slice distance: a slice is missing there


@dataclass(frozen=True)
class Frame:
    """One image file of a slice at one time with its contours, endocardium and epicardium."""

    image: Path
    inner: Path | None
    outer: Path | None
    header: Header


def find_frames(id: str, patient: Patient, target: str) -> tuple[list[Frame], list[BadCase]]:
    """The frames that hold the contours of `target` (endo, epi, both), by number, and those that cannot be used."""
    bad = [BadCase(id, f"{path}: a second contour for this frame of {id}") for path in patient.doubles]
    contours = patient.inner.keys() | patient.outer.keys()
    if not contours:
        return [], [*bad, BadCase(id, f"{_first(patient)}: images of {id}, for which there are no contours")]
    if not patient.series:
        named = min([*patient.inner.values(), *patient.outer.values()])
        return [], [*bad, BadCase(id, f"{named}: contours of {id}, for which there are no images")]
    wanted = patient.inner.keys() if target == "endo" else patient.outer.keys()
    if target == "both":
        wanted = wanted & patient.inner.keys()
        bad += [
            BadCase(
                f"{id}_{number:04d}", f"{patient.outer[number]}: an epicardium without an endocardium", expected=True
            )
            for number in sorted(patient.outer.keys() - patient.inner.keys())
        ]
    images, wrong = _images_of(id, patient, wanted)
    bad += wrong
    frames = [
        Frame(image, patient.inner.get(number), patient.outer.get(number), header)
        for number, (image, header) in sorted(images.items())
    ]
    if target != "endo":
        frames, wrong = _drop_wrong_sets(id, frames)
        bad += wrong
    return frames, bad


def case_id(id: str, frame: Frame) -> str:
    """`SC-HF-I-01_0048`: patient and frame number."""
    return f"{id}_{frame.header.number:04d}"


def make_stacks(id: str, frames: list[Frame]) -> dict[str, list[Frame]]:
    """Frames by stack, ordered by position: `SC-HF-I-01_ED` and `_ES`; after a missing slice a new stack, `_ED_2`, begins.

    Frames with an epicardium are at end-diastole; of the others those at the same time of the beat, where that slice has none.
    """
    diastolic = {_time(frame) for frame in frames if frame.outer}
    taken = {round(frame.header.position, 1) for frame in frames if frame.outer}
    phases: dict[str, list[Frame]] = {"ED": [], "ES": []}
    for frame in frames:
        free = round(frame.header.position, 1) not in taken
        same_time = frame.header.images_a_beat is not None and _time(frame) in diastolic
        phases["ED" if frame.outer or (free and same_time) else "ES"].append(frame)
    stacks = {}
    for phase, members in phases.items():
        for i, part in enumerate(_without_gaps(sorted(members, key=lambda frame: frame.header.position))):
            stacks[f"{id}_{phase}" + (f"_{i + 1}" if i else "")] = part
    return stacks


def _images_of(
    id: str, patient: Patient, wanted: Iterable[int]
) -> tuple[dict[int, tuple[Path, Header]], list[BadCase]]:
    """By InstanceNumber, from the one series that holds them; file names are believed only where the header agrees."""
    bad: list[BadCase] = []
    best: dict[int, tuple[Path, Header]] = {}
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
        return {}, [
            BadCase(id, f"{', '.join(rivals)}: {len(rivals)} series of {id} hold the contoured frames; leave one there")
        ]
    broken = {case.id for case in bad}
    for number in sorted(wanted - best.keys()):
        if f"{id}_{number:04d}" not in broken:
            contour = patient.inner.get(number) or patient.outer[number]
            place = _first(patient).parent
            bad.append(BadCase(f"{id}_{number:04d}", f"{contour}: no image with InstanceNumber {number} in {place}"))
    return best, bad


def _by_number(id: str, paths: list[Path], wanted: set[int]) -> tuple[dict[int, tuple[Path, Header]], list[BadCase]]:
    """Files that are named for a wanted frame first; every other header only where frames are still missing."""
    named = [path for path in paths if frame_number(path) in wanted]
    found, bad = _read(id, named)
    broken = {case.id for case in bad}
    if any(number not in found and f"{id}_{number:04d}" not in broken for number in wanted):
        others, _ = _read(id, [path for path in paths if path not in named])
        found = others | found
    return {number: item for number, item in found.items() if number in wanted}, bad


def _read(id: str, paths: list[Path]) -> tuple[dict[int, tuple[Path, Header]], list[BadCase]]:
    found, bad = {}, []
    for path in paths:
        try:
            header = read_header(path)
        except ValueError as error:
            bad.append(BadCase(f"{id}_{frame_number(path) or 0:04d}", str(error)))
        else:
            found.setdefault(header.number, (path, header))
    return found, bad


def _drop_wrong_sets(id: str, frames: list[Frame]) -> tuple[list[Frame], list[BadCase]]:
    """Frames whose endocardium leaves the epicardium by more than a slip; of a set that is another patient's, every frame."""
    outside = {frame: text for frame in frames if frame.inner and (text := _outside(frame))}
    if len(outside) > WRONG_FRAMES * len(frames):
        first = next(iter(outside.values()))
        reason = f"{first}; so in {len(outside)} of {len(frames)} frames of {id}: contours of another patient?"
        return [], [BadCase(id, reason)]
    bad = [BadCase(case_id(id, frame), text) for frame, text in outside.items()]
    return [frame for frame in frames if frame not in outside], bad


def _outside(frame: Frame) -> str | None:
    """What is wrong with how endo lies in epi; broken contour files are for the verification to name."""
    try:
        points = np.array(read_contour(frame.inner) + read_contour(frame.outer))
        if points.min() < 0 or points.max() > 4096:
            return None
        size = (int(points[:, 1].max()) + 1, int(points[:, 0].max()) + 1)
        inner, outer = fill_contour(frame.inner, size), fill_contour(frame.outer, size)
    except ValueError:
        return None
    pixels = np.count_nonzero(inner & ~outer)
    share = pixels / np.count_nonzero(inner)
    if pixels <= OUTSIDE_PIXELS or share <= OUTSIDE_SHARE:
        return None
    return (
        f"{frame.inner}: {pixels} pixels ({share:.0%}) of the endocardium lie outside the epicardium {frame.outer.name}"
    )


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
    return (frame.header.number - 1) % (frame.header.images_a_beat or 1)


def _first(patient: Patient) -> Path:
    return min(path for paths in patient.series.values() for path in paths)
