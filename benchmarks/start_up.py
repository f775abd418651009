"""How many milliseconds this package adds to the start of nnUNetv2_predict.

    python benchmarks/start_up.py

Each figure is measured in new processes, which take turns. The minimum over the rounds is the cost; the rest is what
else the machine did. `each Python`: the line of nnunet_mamba.pth, at every start. `our trainers`: what the look-up of
one of our trainers imports on top of what nnUNetv2_predict has imported. `a stock trainer`: the time of those imports,
for comparison.
"""

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from nnunet_mamba import catalogue

RESULTS = Path(__file__).parent / "results"
ROOT = str(Path(importlib.util.find_spec("nnunet_mamba").origin).parents[1])
STOCK = "import nnunetv2.inference.predict_from_raw_data, nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
# (options of Python, what is there before, what is measured); with -S no .pth file is read
STARTS = {
    "each Python": (["-S"], f"import os, sys; sys.path.insert(0, {ROOT!r})", "import nnunet_mamba.nnunet_plugin"),
    "our trainers": ([], STOCK, f"from nnunet_mamba.ext.nnunet_mamba_trainers import {catalogue.NETWORKS[0].trainer}"),
    "a stock trainer": ([], "import os", STOCK),
}


def milliseconds(options: list[str], before: str, measured: str) -> dict[str, float]:
    """Wall and processor time of `measured` in a new process."""
    code = f"""
{before}
from time import perf_counter, process_time
wall, processor = perf_counter(), process_time()
{measured}
print(1000 * (perf_counter() - wall), 1000 * (process_time() - processor))
"""
    result = subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True, check=True)
    wall, processor = map(float, result.stdout.split()[-2:])
    return {"wall": wall, "processor": processor}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    rounds = [{name: milliseconds(*start) for name, start in STARTS.items()} for _ in range(args.rounds)]
    result = {
        "on": {
            "processor": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": version("torch"),
            "nnunetv2": version("nnunetv2"),
        },
        "rounds": args.rounds,
        "milliseconds": {
            name: {clock: round(min(times[name][clock] for times in rounds), 2) for clock in ("wall", "processor")}
            for name in STARTS
        },
    }
    print(json.dumps(result, indent=2))
    (RESULTS / "start_up_cpu.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
