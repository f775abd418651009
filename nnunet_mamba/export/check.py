"""Runs an exported file as its users will: in a new process, which imports nothing of ours but this file.

python -m nnunet_mamba.export.check onnx model.onnx arrays.npz
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

INPUT = "image"


class Tried(NamedTuple):
    """What a file made of batches of images.

    Attributes:
        runtime: its name and version.
        logits: of each batch.
        seconds: of the last batch, on all cores, once warm.
        load_seconds: to load the file.
        bytes: the peak of the process's resident memory; None outside Linux.
    """

    runtime: str
    logits: list[Any]
    seconds: float
    load_seconds: float
    bytes: int | None


def try_file(kind: str, file: Path, batches: list[Any], threads: int = 0) -> Tried:
    """Load `file`, of the kind onnx or torch, in a new process and run it on `batches`; `threads` 0: all cores.

    Raises:
        ValueError: it cannot be loaded or run.
    """
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        arrays = Path(folder) / "arrays.npz"
        np.savez(arrays, *batches)
        command = [sys.executable, "-W", "ignore", "-m", __name__, kind, str(file), str(arrays), str(threads)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip() or "killed, perhaps for its memory").splitlines()[-1]
            raise ValueError(f"the exported file does not run in a new process: {last}")
        said = json.loads(done.stdout.splitlines()[-1])
        with np.load(Path(folder) / "logits.npz") as made:
            return Tried(logits=[made[name] for name in made.files], **said)


def _main(kind: str, file: str, arrays: str, threads: str) -> None:
    import numpy as np

    start = time.perf_counter()
    runtime, run = (_onnx if kind == "onnx" else _torch)(file, int(threads))
    load_seconds = time.perf_counter() - start
    with np.load(arrays) as given:
        batches = [given[name] for name in given.files]
    logits = [run(batch) for batch in batches]
    start = time.perf_counter()
    run(batches[-1])
    seconds = time.perf_counter() - start
    np.savez(Path(arrays).with_name("logits.npz"), *logits)
    said = {"runtime": runtime, "seconds": seconds, "load_seconds": load_seconds, "bytes": _peak()}
    print(json.dumps(said))


def _onnx(file: str, threads: int) -> tuple[str, Any]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return f"onnxruntime {onnxruntime.__version__}", lambda batch: session.run(None, {INPUT: batch})[0]


def _torch(file: str, threads: int) -> tuple[str, Any]:
    import torch

    if threads:
        torch.set_num_threads(threads)
    with open(file, "rb") as opened:
        network = torch.export.load(opened).module()

    def run(batch: Any) -> Any:
        with torch.no_grad():
            return network(torch.from_numpy(batch)).numpy()

    return f"torch {torch.__version__}", run


def _peak() -> int | None:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), None)


if __name__ == "__main__":
    _main(*sys.argv[1:])
