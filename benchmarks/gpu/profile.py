"""One call under torch's profiler: kernels, the scan's share of the time, and a trace to look at."""

from collections.abc import Callable
from pathlib import Path

import torch
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
    whole, own = (
        ("device_time_total", "self_device_time_total") if on_gpu else ("cpu_time_total", "self_cpu_time_total")
    )
    total = sum(getattr(event, own) for event in averages)
    scan = sum(getattr(event, whole) for event in averages if event.key in (SCAN, f"{SCAN}_backward"))
    facts = {"share_of_scan": round(scan / total, 3) if total else None, "trace": file.name}
    if on_gpu:
        kernels = [event for event in record.events() if event.device_type == torch.autograd.DeviceType.CUDA]
        facts["kernels"] = sum(not event.name.startswith(("Memcpy", "Memset")) for event in kernels)
    return facts
