"""One call under torch's profiler: kernels, the scan's share of the time, and a trace to look at."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

SCAN = "nnunet_mamba::scan"  # its backward's name begins with it as well


def profiled(call: Callable[[], object], device: str, file: Path) -> dict:
    """Kernels launched and the scan's share; the trace goes to `file` (chrome://tracing, ui.perfetto.dev).

    On a CPU, operators take the place of kernels.
    """
    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as record:
        call()
        if on_gpu:
            torch.cuda.synchronize()
    file.parent.mkdir(parents=True, exist_ok=True)
    record.export_chrome_trace(str(file))
    averages = record.key_averages()
    scans = [event for event in averages if event.key in (SCAN, f"{SCAN}_backward")]
    if not on_gpu:
        total = sum(event.self_cpu_time_total for event in averages)
        return {"share_of_scan": _share(sum(event.cpu_time_total for event in scans), total), "trace": file.name}
    # what the GPU did; an operator's own entry counts its kernels once more
    work = [event for event in averages if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    total = sum(event.self_device_time_total for event in work)
    return {
        "share_of_scan": _share(sum(event.device_time_total for event in scans), total),
        "gpu_ms": round(total / 1000, 2),
        "kernels": sum(event.count for event in work if not event.key.startswith(("Memcpy", "Memset"))),
        "trace": file.name,
    }


def _share(part: float, total: float) -> float | None:
    return round(part / total, 3) if total else None
