"""Every case is read and measured before anything is written."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Pixels
from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers

MAX_NAMED = 5  # bad cases in an error; the report of --skip-bad names them all


@dataclass(frozen=True)
class CaseFacts:
    """What a case measures.

    Args:
        size: (H, W) in pixels, or (D, H, W) of a volume.
        foreground: the share of pixels that are neither background nor to ignore, 0 to 1. None without labels.
        shares: the share of each class or region, in the order of `Dataset.classes`.
    """

    id: str
    size: tuple[int, ...]
    foreground: float | None
    shares: tuple[float, ...] = ()


def verify_cases(
    cases: Sequence[Case], bad: Sequence[BadCase], dataset: Dataset, workers: Workers, skip_bad: bool
) -> tuple[list[Case], dict[str, CaseFacts], list[BadCase]]:
    """The good cases sorted by id, what they measure, and the cases that are left out.

    Raises:
        ValueError: an id occurs twice, a file is broken, or image and mask differ in size, without `skip_bad`. Or no
            case is left.
    """
    cases, doubles = _unique(sorted(cases, key=lambda case: case.id))
    outcomes = workers.run(partial(_verify, dataset), cases, "verifying")
    skipped = [*bad, *doubles, *(outcome for outcome in outcomes if isinstance(outcome, BadCase))]
    skipped.sort(key=lambda case: (case.id, case.reason))
    facts = {outcome.id: outcome for outcome in outcomes if isinstance(outcome, CaseFacts)}
    broken = [case for case in skipped if not case.expected]
    if broken and not skip_bad:
        named = "; ".join(case.reason for case in broken[:MAX_NAMED])
        more = f"; and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
        raise ValueError(f"{named}{more} (fix the source, or leave such cases out with --skip-bad)")
    if not facts:
        first = [*broken, *skipped][:1]
        raise ValueError(f"no case is left to convert: {first[0].reason if first else 'the source holds none'}")
    return [case for case in cases if case.id in facts], facts, skipped


def measure(id: str, image: Pixels, labels: Pixels | None, classes: Mapping[str, tuple[int, ...]]) -> CaseFacts:
    """The facts of a case, as read or as written."""
    size = _shape(image)
    if labels is None:
        return CaseFacts(id, size, None)
    counts = np.bincount(_array(labels).ravel(), minlength=256) / max(1, math.prod(size))
    shares = tuple(float(counts[list(values)].sum()) for values in classes.values())
    counts[list(classes.get("ignore", ()))] = 0
    return CaseFacts(id, size, float(counts[1:].sum()), shares)


def _verify(dataset: Dataset, case: Case) -> CaseFacts | BadCase:
    try:
        image, labels = dataset.read_case(case)
    except (ValueError, OSError) as error:
        return BadCase(case.id, str(error))
    wrong = _mismatch(dataset, case, image, labels)
    return BadCase(case.id, wrong) if wrong else measure(case.id, image, labels, dataset.classes())


def _mismatch(dataset: Dataset, case: Case, image: Pixels, labels: Pixels | None) -> str | None:
    if labels is None:
        return None if case.mask is None else f"{case.mask}: was not read as a mask"
    size, mask_size = _shape(image), _shape(labels)
    if size != mask_size:
        axes = "D x H x W" if len(size) == 3 else "H x W"
        wanted, got = ("x".join(map(str, shape)) for shape in (size, mask_size))
        return f"{case.mask}: the mask has {got} pixels ({axes}), its image {case.image.name} {wanted}"
    if not isinstance(image, np.ndarray) and not isinstance(labels, np.ndarray):
        from nnunet_mamba.dataset_conversion.formats.volumes import check_geometry

        wrong = check_geometry(image, labels)
        if wrong:
            return f"{case.mask}: {wrong} ({case.image.name})"
    values = {value for values in dataset.classes().values() for value in values}
    unknown = sorted({int(value) for value in np.unique(_array(labels))} - values - {0})
    return f"{case.mask}: holds the values {unknown}, which are not labels of {dataset.name}" if unknown else None


def _array(pixels: Pixels) -> np.ndarray:
    if isinstance(pixels, np.ndarray):
        return pixels
    import SimpleITK

    return SimpleITK.GetArrayViewFromImage(pixels)


def _shape(pixels: Pixels) -> tuple[int, ...]:
    """(H, W) of an image or a single slice, (D, H, W) of more slices."""
    if isinstance(pixels, np.ndarray):
        return pixels.shape[:2]
    shape = pixels.GetSize()[::-1]
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def _unique(cases: list[Case]) -> tuple[list[Case], list[BadCase]]:
    """The cases whose id occurs once, and the others. Ids are compared without case, as some file systems do."""
    same: dict[str, list[Case]] = {}
    for case in cases:
        same.setdefault(case.id.casefold(), []).append(case)
    doubles = []
    for group in same.values():
        if len(group) > 1:
            files = ", ".join(str(case.image) for case in group)
            doubles.append(BadCase(group[0].id, f"the id {group[0].id} occurs {len(group)} times: {files}"))
    return [group[0] for group in same.values() if len(group) == 1], doubles
