"""Every case is read and measured before anything is written."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case, CaseFacts
from nnunet_mamba.dataset_conversion.parallel import Workers

MAX_NAMED = 5  # in an error; the report of --skip-bad names them all

ReadCase = Callable[[Case], tuple[np.ndarray, np.ndarray]]


def verify_cases(
    cases: Sequence[Case], bad: Sequence[BadCase], read_case: ReadCase, workers: Workers, skip_bad: bool
) -> tuple[list[Case], dict[str, CaseFacts], list[BadCase]]:
    """The cases that are good, sorted by id, what they measure, and what is left out.

    Raises:
        ValueError: an id occurs twice, a file is broken, image and mask differ in size, and `skip_bad` is off; or nothing is left.
    """
    cases, doubles = _unique(sorted(cases, key=lambda case: case.id))
    outcomes = workers.run(partial(_measure, read_case), cases, "verifying")
    skipped = [*bad, *doubles, *(outcome for outcome in outcomes if isinstance(outcome, BadCase))]
    skipped.sort(key=lambda case: (case.id, case.reason))
    facts = {outcome.id: outcome for outcome in outcomes if isinstance(outcome, CaseFacts)}
    if skipped and not skip_bad:
        named = "; ".join(case.reason for case in skipped[:MAX_NAMED])
        more = f"; and {len(skipped) - MAX_NAMED} more" if len(skipped) > MAX_NAMED else ""
        raise ValueError(f"{named}{more} (mend the source, or leave such cases out with --skip-bad)")
    if not facts:
        raise ValueError(f"no case is left to convert: {skipped[0].reason if skipped else 'the source holds none'}")
    return [case for case in cases if case.id in facts], facts, skipped


def _measure(read_case: ReadCase, case: Case) -> CaseFacts | BadCase:
    try:
        image, labels = read_case(case)
    except (ValueError, OSError) as error:
        return BadCase(case.id, str(error))
    if image.shape[:2] != labels.shape:
        return BadCase(
            case.id,
            f"{case.mask}: the mask has {labels.shape[0]}x{labels.shape[1]} pixels (H x W), "
            f"its image {case.image.name} {image.shape[0]}x{image.shape[1]}",
        )
    return CaseFacts(case.id, labels.shape, float(np.mean(labels > 0)))


def _unique(cases: list[Case]) -> tuple[list[Case], list[BadCase]]:
    """Cases whose id occurs once, without regard to case (file systems differ on it), and the others."""
    same: dict[str, list[Case]] = {}
    for case in cases:
        same.setdefault(case.id.casefold(), []).append(case)
    unique = [group[0] for group in same.values() if len(group) == 1]
    doubles = [
        BadCase(group[0].id, f"the id {group[0].id} occurs {len(group)} times: {', '.join(str(case.image) for case in group)}")
        for group in same.values()
        if len(group) > 1
    ]
    return unique, doubles
