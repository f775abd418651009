"""What a conversion tells: the summary table on the terminal and the same facts in conversion_report.json."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from nnunet_mamba import __version__
from nnunet_mamba.dataset_conversion.cases import BadCase, CaseFacts

MAX_SIZES = 6  # on the terminal; the report lists every size


def make_report(
    name: str,
    options: Mapping[str, Any],
    folder: Path,
    source: Mapping[str, CaseFacts],
    training: Sequence[CaseFacts],
    test: Sequence[CaseFacts],
    skipped: Sequence[BadCase],
    folds: Sequence[Mapping[str, Sequence[str]]],
) -> dict[str, Any]:
    """The report as it is written: counts, sizes (H x W, pixels), foreground shares (0 to 1), and each case.

    Files are named from the source `folder` on, so that the report does not depend on where that lies.
    """
    written = sorted([*training, *test], key=lambda facts: facts.id)
    test_ids = {facts.id for facts in test}
    shares = [facts.foreground for facts in written]
    return {
        "data_set": name,
        "converter": f"nnunet_mamba {__version__}",
        "options": dict(options),
        "cases": {"training": len(training), "test": len(test), "skipped": len(skipped)},
        "source_sizes": _count_sizes(list(source.values())),
        "written_sizes": _count_sizes(written),
        "foreground": {"min": _share(min(shares)), "median": _share(median(shares)), "max": _share(max(shares))},
        "empty_masks": [facts.id for facts in written if facts.foreground == 0],
        "skipped": [{"case": case.id, "reason": case.reason.replace(f"{folder}{os.sep}", "")} for case in skipped],
        "folds": [{"train": len(fold["train"]), "val": len(fold["val"])} for fold in folds],
        "written": [
            {
                "case": facts.id,
                "part": "test" if facts.id in test_ids else "training",
                "source_size": _size(source[facts.id].size),
                "size": _size(facts.size),
                "foreground": _share(facts.foreground),
            }
            for facts in written
        ],
    }


def summary_table(report: Mapping[str, Any]) -> str:
    """The report for the terminal, a line a fact, and one for each case that was left out."""
    cases, foreground = report["cases"], report["foreground"]
    rows = [
        ("data set", report["data_set"]),
        ("cases", f"{cases['training'] + cases['test']} ({cases['training']} training, {cases['test']} test)"),
        ("sizes (H x W)", _sizes(report["written_sizes"])),
        ("foreground", ", ".join(f"{name} {100 * foreground[name]:.1f} %" for name in ("min", "median", "max"))),
        ("empty masks", f"{len(report['empty_masks'])} {' '.join(report['empty_masks'])}".strip()),
        ("validation", " + ".join(str(fold["val"]) for fold in report["folds"]) + " cases in folds 0, 1, ..."),
        ("skipped", str(cases["skipped"])),
        *(("", f"{case['case']}: {case['reason']}") for case in report["skipped"]),
    ]
    if report["source_sizes"] != report["written_sizes"]:
        rows.insert(2, ("source (H x W)", _sizes(report["source_sizes"])))
    return "\n".join(f"{name:<15} {value}" for name, value in rows)


def _count_sizes(facts: Sequence[CaseFacts]) -> dict[str, int]:
    counts = Counter(case.size for case in facts)
    return {_size(size): counts[size] for size in sorted(counts)}


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _sizes(counts: Mapping[str, int]) -> str:
    common = sorted(counts, key=lambda size: -counts[size])[:MAX_SIZES]
    text = ", ".join(f"{size}: {counts[size]}" for size in common)
    return text if len(counts) == len(common) else f"{text}, and {len(counts) - len(common)} other sizes"


def _share(value: float) -> float:
    return round(value, 6)
