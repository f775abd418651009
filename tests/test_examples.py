"""The examples learn in a few steps, and import no nnU-Net. All run in one process: importing torch takes seconds."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "examples"
# example: (what it needs beside torch, tiny settings, the least Dice or accuracy)
EXAMPLES = {
    "pytorch_loop": ("torch", {"steps": 12, "height": 32, "width": 40, "batch": 2}, 0.5),
    "monai_loop": ("monai", {"epochs": 2, "images": 12, "size": [40, 48], "patch": [32, 32]}, 0.5),
    "lightning_module": ("pytorch_lightning", {"epochs": 2, "images": 40, "size": 32}, 0.5),
    "mamba_block": ("torch", {"steps": 40, "length": 16, "tokens": 8}, 0.95),
}
CODE = """
import importlib, json, sys
import torch
sys.path.insert(0, sys.argv[1])
results = {}
for name, settings in json.loads(sys.argv[2]).items():
    torch.manual_seed(0)
    results[name] = importlib.import_module(name).main(**settings)
print(json.dumps(results | {"modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    settings = {name: tiny for name, (needs, tiny, _) in EXAMPLES.items() if find_spec(needs)}
    command = [sys.executable, "-W", "ignore", "-c", CODE, str(FOLDER), json.dumps(settings)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path_factory.mktemp("examples"))
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_every_example_is_run():
    needs_a_model = {"onnx_predict"}  # see tests/export
    assert {file.stem for file in FOLDER.glob("*.py")} == set(EXAMPLES) | needs_a_model


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_learns(name, results):
    needs, _, least = EXAMPLES[name]
    if name not in results:
        pytest.skip(f"{needs} is not installed")
    assert least < results[name] <= 1


def test_none_imports_nnunet(results):
    assert "nnunet_mamba.networks" in results["modules"] and "nnunetv2" not in results["modules"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_the_mamba_block_of_any_type_keeps_it(dtype, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    from mamba_block import MambaBlock

    block = MambaBlock(8)
    x = torch.randn(2, 10, 8)
    wanted, got = block(x), block.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.05)
