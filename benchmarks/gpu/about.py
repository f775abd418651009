"""What the figures were measured on and with: printed as JSON, without names of hosts, users or folders."""

import json
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

GIB = 2**30
PACKAGES = ("torch", "triton", "nnunetv2", "mamba-ssm", "kernels", "numpy")


def installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def output(*command: str) -> str | None:
    """The first line that a command prints, None where it is not installed or fails."""
    try:
        printed = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=Path(__file__).parent)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return printed.stdout.strip().splitlines()[0] if not printed.returncode and printed.stdout.strip() else None


def about(dry: bool) -> dict:
    """Raises SystemExit without a GPU, unless `dry`."""
    import torch

    import nnunet_mamba

    facts = {
        "dry": dry,
        "processor": platform.machine() + " CPU",
        "python": platform.python_version(),
        "nnunet_mamba": nnunet_mamba.__version__,
        "commit": output("git", "describe", "--always", "--dirty"),
        "selective_scan_cuda": find_spec("selective_scan_cuda") is not None,
    }
    facts |= {package: installed(package) for package in PACKAGES}
    if dry:
        return facts
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU here: run this on a machine with one, or with --dry on any machine")
    properties = torch.cuda.get_device_properties(0)
    return facts | {
        "processor": properties.name,
        "gpus": torch.cuda.device_count(),
        "memory_GiB": round(properties.total_memory / GIB, 1),
        "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda or torch.version.hip,
        "driver": output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
    }


if __name__ == "__main__":
    print(json.dumps(about("--dry" in sys.argv)))
