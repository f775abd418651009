"""Everything that only a GPU can show, in one command: right, fast, whole training steps, trainings.

    python benchmarks/on_gpu.py --minutes 9 -o results/      most important first; run it again to go on with the rest
    python benchmarks/on_gpu.py --dry -o tried/              a few tiny rows of each part on a CPU, Triton interpreted

Each part runs in a process of its own: a crash, a hang or a lack of memory costs one row. Each row is written to
FOLDER/on_gpu.json as soon as it is known; a table (on_gpu.txt) and a plot (on_gpu.png) follow. See docs/on_gpu.md.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path += [str(ROOT), str(ROOT / "tests")]  # the package of a plain checkout; the tests' helpers

from gpu import wheels  # noqa: E402  # the paths must be known first
from gpu.parts import PARTS, Setup  # noqa: E402
from gpu.table import FAILED, NOT_REACHED, Table  # noqa: E402
from gpu.watch import watch  # noqa: E402

SECONDS_TO_LOOK = 180  # at the machine: imports from a cluster's disk are slow


def look_at_machine(dry: bool) -> dict:
    """Versions and the GPU, asked in a process of its own: a broken driver can hang."""
    command = [sys.executable, "-m", "gpu.about", *(["--dry"] if dry else [])]
    paths = [str(HERE), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS_TO_LOOK)
    except subprocess.TimeoutExpired:
        sys.exit(f"torch did not find out about the GPU in {SECONDS_TO_LOOK} s: look at the driver (nvidia-smi)")
    if done.returncode:
        sys.exit(done.stderr.strip() or f"looking at the machine ended with exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def run_parts(table: Table, setup: Setup, seconds: float, again: bool) -> None:
    """Each part with its share of the time that is left; then what time remains for rows that were cut short."""
    end = time.monotonic() + seconds
    parts = [part for part in PARTS if part.name in setup.parts]
    for turn in (1, 2):
        for i, part in enumerate(parts):
            left = end - time.monotonic()
            share = left * part.share / sum(other.share for other in parts[i:]) if turn == 1 else left
            if left > 0 and (turn == 1 or table.waits(part.name)):
                watch(part, share, table, setup, table.done(part.name, again and turn == 1))
                table.write_all()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=9, help="for all parts together (default: 9)")
    parser.add_argument("-o", dest="folder", type=Path, default=Path("results"), help="default: ./results")
    parser.add_argument("--dry", action="store_true", help="tiny sizes on the CPU, Triton interpreted")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], help="these parts only")
    parser.add_argument("--again", action="store_true", help="the rows that failed before, too")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="first install what is missing from DIR, offline")
    args = parser.parse_args()
    if not args.minutes > 0:
        parser.error(f"--minutes: got {args.minutes:g}, wanted more than 0")
    folder = args.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    if args.wheels:
        rest = [x for x in sys.argv[1:] if not x.startswith("--wheels") and x != str(args.wheels)]
        wheels.go_on_in_venv(args.wheels, folder / "venv", [__file__, *rest])
    os.environ["TRITON_INTERPRET"] = "1" if args.dry else "0"
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        table = Table(folder, look_at_machine(args.dry))
    except ValueError as error:
        sys.exit(str(error))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM; the table is written"))  # SLURM's time limit
    parts = tuple(args.only or [part.name for part in PARTS])
    setup = Setup(folder, args.dry, "cpu" if args.dry else "cuda", parts)
    try:
        run_parts(table, setup, 60 * args.minutes - (time.monotonic() - start), args.again)
    except KeyboardInterrupt:
        print("\nstopped: run the same command again to go on", flush=True)
    finally:
        table.write_all()
    print(table.text())
    counts = table.counts()
    if counts.get(NOT_REACHED):
        print("Run the same command again to go on with what was not reached.")
    return 1 if counts.get(FAILED) else 0


if __name__ == "__main__":
    sys.exit(main())
