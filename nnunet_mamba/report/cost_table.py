"""What each trainer costs, as far as its folder in nnUNet_results tells."""

import json
from pathlib import Path
from typing import Any

from nnunet_mamba.machine_memory import GIB
from nnunet_mamba.report.comparison import Comparison
from nnunet_mamba.report.training_logs import seconds_per_case

UNKNOWN = "not known"


def cost_content(comparison: Comparison) -> list[dict[str, Any]]:
    """A row per trainer, as text; none for folders of which nothing is known, such as predictions."""
    rows = []
    for trainer, model in zip(comparison.trainers, comparison.folders, strict=True):
        if (model / "plans.json").is_file():
            seconds = seconds_per_case(model)
            timed = {"seconds": UNKNOWN if seconds is None else f"{seconds:.2f}"}
            costs = _counted(model) | timed
            if set(costs.values()) != {UNKNOWN}:
                rows.append({"trainer": trainer} | costs)
    return rows


def _counted(model: Path) -> dict[str, str]:
    """From profile.json, or counted now; what is not known says so."""
    profile = _read(model / "profile.json") or _count(model)
    if profile is None:
        return dict.fromkeys(("patch", "parameters", "without_scan", "with_scan", "memory"), UNKNOWN)
    step = profile.get("measured", {}).get("step_bytes")
    without, scan = profile["multiply_adds"], profile["scan_multiply_adds"]
    device = profile.get("measured", {}).get("device", "")
    return {
        "patch": f"{profile['channels']} x " + " x ".join(map(str, profile["patch"])),
        "parameters": f"{profile['parameters'] / 1e6:.4g} M",
        "without_scan": f"{without / 1e9:.3g} G",
        "with_scan": f"{(without + scan) / 1e9:.3g} G" if scan else "no scan",
        "memory": f"{step / GIB:.2f} GiB, batch {profile['batch']}, {device}" if step else UNKNOWN,
    }


def _read(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        profile = json.loads(file.read_text(encoding="utf-8"))
        return profile if profile["parameters"] and profile["patch"] and "scan_multiply_adds" in profile else None
    except (ValueError, KeyError, TypeError):  # another program's, or half a file
        return None


def _count(model: Path) -> dict[str, Any] | None:
    """Parameters and multiply-adds, without measuring; None where the trainer is not to be had."""
    from nnunet_mamba.costs.arithmetic import count
    from nnunet_mamba.costs.subject import subject_of_model

    try:
        subject = subject_of_model(model)
        arithmetic = count(subject)
    except Exception:  # a trainer of the user's own may be anything: the report goes on without its costs
        return None
    return {
        "patch": list(subject.patch),
        "channels": subject.in_channels,
        "parameters": arithmetic.parameters,
        "multiply_adds": arithmetic.multiply_adds,
        "scan_multiply_adds": arithmetic.scan,
    }
