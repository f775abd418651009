"""The memory that is counted: exact for work with known tensors, near the measured peak for the networks."""

import os
import subprocess
import sys

import pytest
import torch

from nnunet_mamba import catalogue
from nnunet_mamba.networks import DermoMamba
from nnunet_mamba.planning.memory import training_bytes
from nnunet_mamba.trainers.dry_run import peak_bytes

MIB = 2**20
GIVES_BACK = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
GIVES_BACK["MALLOC_MMAP_MAX_"] = "65536"
FIRST, *OTHERS = (entry.key for entry in catalogue.NETWORKS if not entry.finds)
CASES = ((3, 2, (64, 96), 2), (1, 5, (32, 100), 3))
MEASURE = """
import gc, json
from pathlib import Path
from nnunet_mamba.planning.training_step import TrainingStep

def status(key):
    return next(int(line.split()[1]) * 1024 for line in Path("/proc/self/status").open() if line.startswith(key))

def peak(*case, batch):
    gc.collect()
    before = status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step = TrainingStep(*case)
    step(batch), step(batch)
    return status("VmHWM") - before

peak(NETWORK, 3, 2, (32, 32), batch=2)
for *case, batch in CASES:
    print("PEAK", peak(NETWORK, *case, batch=batch))
"""


def matrix(mib):
    return torch.empty(mib, 2**18)


def freed_in_between():
    a = matrix(3)
    del a
    matrix(2)


def kept_for_the_backward():
    x = matrix(1).requires_grad_()
    ((x.exp()).exp()).sum().backward()  # x, two results, and at last their gradients


def checked():
    x = matrix(1)
    if (x[0, :4] < 0).any() or not (x[0, :4] < 0).all():
        matrix(100)


@pytest.mark.parametrize(
    ("work", "mib"),
    [
        (lambda: matrix(5), 5),
        (lambda: [matrix(5), matrix(4)], 9),
        (freed_in_between, 3),
        (lambda: matrix(4).view(-1)[:7].add_(1), 4),
        (kept_for_the_backward, 4),
        (checked, 1),
    ],
)
def test_counted(work, mib):
    assert peak_bytes(work) == pytest.approx(mib * MIB, abs=200)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the peak of resident memory is Linux's")
@pytest.mark.parametrize("network", [FIRST, *(pytest.param(key, marks=pytest.mark.exhaustive) for key in OTHERS)])
def test_near_what_a_training_step_takes(network):
    code = f"NETWORK, CASES = {network!r}, {CASES}\n{MEASURE}"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | GIVES_BACK, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    measured = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("PEAK")]
    for case, peak in zip(CASES, measured, strict=True):
        assert training_bytes(network, *case) == pytest.approx(int(peak), rel=0.2), case


def test_counting_leaves_nothing_fake_behind():
    """The walks of a map are kept from call to call: a fake one would break the network that runs next."""
    training_bytes("dermomamba", 1, 2, (32, 64), 2)
    assert DermoMamba(1, 2, (32, 64))(torch.zeros(2, 1, 32, 64))[0].isfinite().all()
