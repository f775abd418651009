"""Every case is read and measured before anything is written."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case, CaseFacts
from nnunet_mamba.dataset_conversion.parallel import Workers
from nnunet_mamba.dataset_conversion.recipe import Pixels, Recipe

MAX_NAMED = 5  # in an error; the report of --skip-bad names them all


def verify_cases(
    cases: Sequence[Case], bad: Sequence[BadCase], recipe: Recipe, workers: Workers, skip_bad: bool
) -> tuple[list[Case], dict[str, CaseFacts], list[BadCase]]:
    """The cases that are good, sorted by id, what they measure, and what is left out.

    Raises:
        ValueError: an id occurs twice, a file is broken, image and mask differ in size, and `skip_bad` is off; or nothing is left.
    """
    cases, doubles = _unique(sorted(cases, key=lambda case: case.id))
    outcomes = workers.run(partial(_verify, recipe), cases, "verifying")
    skipped = [*bad, *doubles, *(outcome for outcome in outcomes if isinstance(outcome, BadCase))]
    skipped.sort(key=lambda case: (case.id, case.reason))
    facts = {outcome.id: outcome for outcome in outcomes if isinstance(outcome, CaseFacts)}
    broken = [case for case in skipped if not case.expected]
    if broken and not skip_bad:
        named = "; ".join(case.reason for case in broken[:MAX_NAMED])
        more = f"; and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
        raise ValueError(f"{named}{more} (mend the source, or leave such cases out with --skip-bad)")
    if not facts:
        first = [*broken, *skipped][:1]
        raise ValueError(f"no case is left to convert: {first[0].reason if first else 'the source holds none'}")
    return [case for case in cases if case.id in facts], facts, skipped


def measure(id: str, image: Pixels, labels: Pixels | None, classes: Mapping[str, tuple[int, ...]]) -> CaseFacts:
    """The facts of a case as it was read or as it is written."""
    size = _shape(image)
    if labels is None:
        return CaseFacts(id, size, None)
    counts = np.bincount(_array(labels).ravel(), minlength=256) / max(1, np.prod(size))
    return CaseFacts(
        id, size, float(counts[1:].sum()), tuple(float(counts[list(values)].sum()) for values in classes.values())
    )


def _verify(recipe: Recipe, case: Case) -> CaseFacts | BadCase:
    try:
        image, labels = recipe.read_case(case)
    except (ValueError, OSError) as error:
        return BadCase(case.id, str(error))
    wrong = _mismatch(recipe, case, image, labels)
    return BadCase(case.id, wrong) if wrong else measure(case.id, image, labels, recipe.classes())


def _mismatch(recipe: Recipe, case: Case, image: Pixels, labels: Pixels | None) -> str | None:
    if labels is None:
        return None if case.mask is None else f"{case.mask}: was not read as a mask"
    size, mask_size = _shape(image), _shape(labels)
    if size != mask_size:
        axes = "D x H x W" if len(size) == 3 else "H x W"
        wanted, got = ("x".join(map(str, shape)) for shape in (size, mask_size))
        return f"{case.mask}: the mask has {got} pixels ({axes}), its image {case.image.name} {wanted}"
    if not isinstance(image, np.ndarray):
        from nnunet_mamba.dataset_conversion.volumes import check_geometry

        wrong = check_geometry(image, labels)
        if wrong:
            return f"{case.mask}: {wrong} ({case.image.name})"
    values = {value for values in recipe.classes().values() for value in values}
    unknown = sorted({int(value) for value in np.unique(_array(labels))} - values - {0})
    return f"{case.mask}: holds the values {unknown}, which are no label of {recipe.name}" if unknown else None


def _array(pixels: Pixels) -> np.ndarray:
    if isinstance(pixels, np.ndarray):
        return pixels
    import SimpleITK

    return SimpleITK.GetArrayViewFromImage(pixels)


def _shape(pixels: Pixels) -> tuple[int, ...]:
    """(H, W) of an image or a single slice, (D, H, W) of more."""
    if isinstance(pixels, np.ndarray):
        return pixels.shape[:2]
    shape = pixels.GetSize()[::-1]
    return shape[1:] if len(shape) == 3 and shape[0] == 1 else shape


def _unique(cases: list[Case]) -> tuple[list[Case], list[BadCase]]:
    """Cases whose id occurs once, without regard to case (file systems differ on it), and the others."""
    same: dict[str, list[Case]] = {}
    for case in cases:
        same.setdefault(case.id.casefold(), []).append(case)
    unique = [group[0] for group in same.values() if len(group) == 1]
    doubles = [
        BadCase(
            group[0].id,
            f"the id {group[0].id} occurs {len(group)} times: {', '.join(str(case.image) for case in group)}",
        )
        for group in same.values()
        if len(group) > 1
    ]
    return unique, doubles
