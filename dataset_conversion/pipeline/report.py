"""What a conversion reports: a summary table on the terminal, and the same facts in conversion_report.json."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nnunet_mamba import __version__
from nnunet_mamba.dataset_conversion.dataset import BadCase, Dataset, MaskValue
from nnunet_mamba.dataset_conversion.pipeline.splits import Fold
from nnunet_mamba.dataset_conversion.pipeline.verify import CaseFacts

MAX_SIZES = 6  # on the terminal; the report lists every size
MAX_UNUSED = 5  # on the terminal, of the cases that the data set publishes without labels
MAX_IDS = 10  # on the terminal


def make_report(
    dataset: Dataset,
    options: Mapping[str, Any],
    folders: Sequence[Path],
    source: Mapping[str, CaseFacts],
    strata: Mapping[str, str],
    groups: Mapping[str, str],
    training: Sequence[CaseFacts],
    test: Sequence[CaseFacts],
    skipped: Sequence[BadCase],
    folds: Sequence[Fold],
) -> dict[str, Any]:
    """The report: counts, sizes (H x W or D x H x W, in pixels), foreground shares (0 to 1), strata, and each case.

    File names start below the source `folders`, so that the report does not depend on where these are.
    """
    written = sorted([*training, *test], key=lambda facts: facts.id)
    test_ids = {facts.id for facts in test}
    labelled = [facts for facts in written if facts.foreground is not None]
    shares = [facts.foreground for facts in written if facts.foreground is not None]
    broken = [case for case in skipped if not case.expected]
    unused = [case for case in skipped if case.expected]
    return {
        "data_set": dataset.name,
        "converter": f"nnunet_mamba {__version__}",
        "options": dict(options),
        "cases": {"training": len(training), "test": len(test), "skipped": len(broken)},
        "source_sizes": _count_sizes(list(source.values())),
        "written_sizes": _count_sizes(written),
        "foreground": _range(shares),
        "classes": {name: _range([facts.shares[i] for facts in labelled]) for i, name in enumerate(dataset.classes())},
        **({"mask_values": [value._asdict() for value in dataset.mask_values]} if dataset.mask_values else {}),
        "empty_masks": [facts.id for facts in labelled if facts.foreground == 0],
        "without_labels": [facts.id for facts in written if facts.foreground is None],
        "skipped": [{"case": case.id, "reason": _without(folders, case.reason)} for case in broken],
        "not_used": [{"case": case.id, "reason": _without(folders, case.reason)} for case in unused],
        "folds": [{"train": len(fold["train"]), "val": len(fold["val"])} for fold in folds],
        "strata": _count_strata(strata, training, test, folds),
        "written": [
            {
                "case": facts.id,
                "part": "test" if facts.id in test_ids else "training",
                "group": groups[facts.id],
                "source_size": _size(source[facts.id].size),
                "size": _size(facts.size),
                "foreground": None if facts.foreground is None else _share(facts.foreground),
            }
            for facts in written
        ],
    }


def summary_table(report: Mapping[str, Any], facts: Sequence[str], mask_values: Sequence[MaskValue]) -> str:
    """The report for the terminal: one line per fact and per case that was left out.

    Args:
        facts: which of the report's options are facts to show.
        mask_values: of the data set.
    """
    cases, unused, unlabelled = report["cases"], report["not_used"], report["without_labels"]
    shares = {"foreground": report["foreground"]}
    if len(report["classes"]) > 1:
        shares |= {f"  {name}": values for name, values in report["classes"].items()}
    rows = [
        ("data set", report["data_set"]),
        ("cases", f"{cases['training'] + cases['test']} ({cases['training']} training, {cases['test']} test)"),
        ("sizes (H x W)", _sizes(report["written_sizes"])),
        *((name, report["options"][name]) for name in facts),
        *(("mask values" if i == 0 else "", text) for i, text in enumerate(map(value_text, mask_values))),
        *(
            (name, ", ".join(f"{key} {100 * value:.1f} %" for key, value in values.items()))
            for name, values in shares.items()
        ),
        ("empty masks", _count_ids(report["empty_masks"])),
        ("validation", " + ".join(str(fold["val"]) for fold in report["folds"]) + " cases in folds 0, 1, ..."),
        *((f"  {name}", _stratum(counts)) for name, counts in report["strata"].items()),
        ("skipped", str(cases["skipped"])),
        *(("", f"{case['case']}: {case['reason']}") for case in report["skipped"]),
    ]
    if unlabelled:
        rows.append(("without labels", _count_ids(unlabelled)))
    if unused:
        rows.append(("not used", f"{len(unused)}, as published"))
        rows += [("", f"{case['case']}: {case['reason']}") for case in unused[:MAX_UNUSED]]
        if len(unused) > MAX_UNUSED:
            rows.append(("", f"and {len(unused) - MAX_UNUSED} more, listed in the report"))
    if report["source_sizes"] != report["written_sizes"]:
        rows.insert(2, ("source (H x W)", _sizes(report["source_sizes"])))
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def value_text(value: MaskValue) -> str:
    """`255 = ignore, 1.87 % of the pixels`."""
    return f"{value.value} = {value.name}, {100 * value.share:.3g} % of the pixels"


def _count_sizes(facts: Sequence[CaseFacts]) -> dict[str, int]:
    counts = Counter(case.size for case in facts)
    return {_size(size): counts[size] for size in sorted(counts)}


def _count_strata(
    strata: Mapping[str, str],
    training: Sequence[CaseFacts],
    test: Sequence[CaseFacts],
    folds: Sequence[Fold],
) -> dict[str, Any]:
    """Per stratum the cases for training, test and the validation of each fold. Empty if there is only one stratum."""
    names = sorted({strata[facts.id] for facts in (*training, *test)})
    counts = [Counter(strata[id] for id in fold["val"]) for fold in folds]
    in_training, in_test = (Counter(strata[facts.id] for facts in part) for part in (training, test))
    if len(names) < 2:
        return {}
    return {
        name: {"training": in_training[name], "test": in_test[name], "val": [count[name] for count in counts]}
        for name in names
    }


def _stratum(counts: Mapping[str, Any]) -> str:
    return f"{' + '.join(map(str, counts['val']))} = {counts['training']} training, {counts['test']} test"


def _count_ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MAX_IDS} more" if len(ids) > MAX_IDS else ""
    return f"{len(ids)} {' '.join(ids[:MAX_IDS])}".strip() + more


def _range(shares: Sequence[float]) -> dict[str, float]:
    return {name: _share(of(shares)) for name, of in (("min", min), ("median", median), ("max", max))}


def _without(folders: Sequence[Path], reason: str) -> str:
    for folder in folders:
        reason = reason.replace(f"{folder}{os.sep}", "")
    return reason


def _size(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))


def _sizes(counts: Mapping[str, int]) -> str:
    common = sorted(counts, key=lambda size: -counts[size])[:MAX_SIZES]
    text = ", ".join(f"{size}: {counts[size]}" for size in common)
    return text if len(counts) == len(common) else f"{text}, and {len(counts) - len(common)} other sizes"


def _share(value: float) -> float:
    return round(value, 6)
