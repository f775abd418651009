"""Our code never runs the content of a file: no unpickling, no evaluation of text, no shell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path
    for folder in ("nnunet_mamba", "trainers", "dataset_conversion", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
)
NEVER = {
    *(
        f"{module}.{name}"
        for module in ("pickle", "dill", "cloudpickle", "marshal")
        for name in ("load", "loads", "Unpickler")
    ),
    *("joblib.load", "shelve.open", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load", "yaml.full_load"),
    *("eval", "exec", "compile", "os.system", "os.popen"),
    *("batchgenerators.utilities.file_and_folder_operations.load_pickle", "torch.hub.load", "torch.jit.load"),
}
ONLY_WITH = {"torch.load": ("weights_only", True)}
NEVER_WITH = {
    "numpy.load": "allow_pickle",
    "subprocess.run": "shell",
    "subprocess.Popen": "shell",
    "subprocess.check_output": "shell",
}


def full_names(tree):
    """{name in this file: full name}, from the imports."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
                for alias in node.names
            }
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def called(function, names):
    """The full name of the called function, or None if it is not a plain name."""
    parts = []
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        return None
    return ".".join([names.get(function.id, function.id), *reversed(parts)])


def offences(source):
    """Yields (line, name) of each forbidden call."""
    tree = ast.parse(source)
    names = full_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node.func, names)
        keywords = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
        if name in NEVER:
            yield node.lineno, name
        if name in ONLY_WITH and keywords.get(ONLY_WITH[name][0]) is not ONLY_WITH[name][1]:
            yield node.lineno, f"{name} without {ONLY_WITH[name][0]}"
        if name in NEVER_WITH and keywords.get(NEVER_WITH[name], False) is not False:
            yield node.lineno, f"{name} with {NEVER_WITH[name]}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_forbidden_call(path):
    assert list(offences(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "from torch import load\nload('x', map_location='cpu')",
        "import pickle\npickle.load(open('x', 'rb'))",
        "from pickle import loads as read\nread(b'')",
        "import numpy as np\nnp.load('x', allow_pickle=True)",
        "import yaml\nyaml.load('x', Loader=None)",
        "import joblib\njoblib.load('x')",
        "eval('1')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
    ],
)
def test_forbidden_calls_are_seen(source):
    assert len(list(offences(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load('x', weights_only=True)",
        "import numpy as np\nnp.load('x')",
        "network.eval()",
        "import re\nre.compile('x')",
    ],
)
def test_harmless_calls_pass(source):
    assert list(offences(source)) == []
