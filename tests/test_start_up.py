"""Start-up of nnU-Net's commands with our trainers: nothing heavy is imported, compiled or touched (no times here)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import nnunet_mamba
from nnunet_mamba import catalogue

STOCK = "import nnunetv2.inference.predict_from_raw_data, nnunetv2.training.nnUNetTrainer.nnUNetTrainer"
# imported where they are used, or never by a training or a prediction
LATER = (
    "numba",
    "llvmlite",
    "triton",
    "optuna",
    "timm",
    "torchvision",
    "filelock",
    "matplotlib.pyplot",
    "onnx",
    "tqdm",
)
ENGINES = ("cpu", "_cpu_kernels", "_simd", "triton_engine", "mamba_ssm_engine", "contest")


@pytest.fixture(scope="module")
def added():
    """What the look-up of one of our trainers adds to what nnU-Net has imported by then, in a new process."""
    code = f"""
import inspect, json, sys
{STOCK}
import torch
before = set(sys.modules)
inspect.modulesbyfile.clear()
from nnunet_mamba.ext.nnunet_mamba_trainers import {catalogue.NETWORKS[0].trainer}
added = sorted(set(sys.modules) - before)
print(json.dumps({{'added': added, 'cuda': torch.cuda.is_initialized(), 'looked at': len(inspect.modulesbyfile)}}))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def test_no_heavy_module_is_added(added):
    tops = {name.split(".")[0] for name in added["added"]}
    assert not [name for name in LATER if name in added["added"] or name in tops]


def test_no_engine_is_imported_and_so_none_compiled(added):
    assert "nnunet_mamba.ops.scan" in added["added"]
    assert not [name for name in ENGINES if f"nnunet_mamba.ops.{name}" in added["added"]]


def test_no_gpu_is_touched(added):
    assert added["cuda"] is False


def test_inspect_does_not_look_at_each_module(added):
    """torch.library.custom_op would make it do so, see ops/operator.py. It lists the modules that it has looked at."""
    assert added["looked at"] < 20


def test_the_modules_of_the_plugin_itself():
    """At every start of Python: the package and the plugin."""
    load = "import os, sys; before = set(sys.modules); import nnunet_mamba.nnunet_plugin"
    code = f"{load}; print(sorted(set(sys.modules) - before))"
    root = str(Path(nnunet_mamba.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {root!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "['nnunet_mamba', 'nnunet_mamba.nnunet_plugin']"
