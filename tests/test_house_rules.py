"""Who may import whom: a lower room knows nothing of a higher one, and only the upper rooms know nnU-Net."""

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_mamba import catalogue

ROOT = Path(__file__).resolve().parents[1]
# a room may import itself and those listed
MAY_IMPORT = {
    "ops": set(),
    "blocks": {"ops"},
    "networks": {"ops", "blocks"},
    "losses": set(),
    "evaluation": set(),
    "dataset_conversion": {"evaluation"},
    "search": {"networks"},
    "trainers": {"ops", "networks", "losses", "search"},
    "planning": {"ops", "trainers"},
    "costs": {"blocks", "ops", "trainers"},
    "prediction": {"evaluation", "dataset_conversion", "trainers"},
    "export": {"ops", "prediction"},
    "report": {"dataset_conversion", "costs", "evaluation"},
    "demo": {"evaluation", "dataset_conversion"},
    "ext": {"trainers"},
    "cli": {
        "ops",
        "networks",
        "dataset_conversion",
        "demo",
        "planning",
        "prediction",
        "export",
        "search",
        "report",
        "costs",
    },
}
WITHOUT_NNUNET = ("ops", "blocks", "networks", "losses")


def folder(room):
    return ROOT / room if room in ("trainers", "dataset_conversion") else ROOT / "nnunet_mamba" / room


def imported(room):
    """(file, module) for each import in a room's files, inside functions too."""
    for file in sorted(folder(room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                yield from ((file.name, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from ((file.name, name) for name in (names if node.module == "nnunet_mamba" else [node.module]))


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_know_only_lower_rooms(room):
    assert any(imported(room)) or room in ("ext", "evaluation")
    for file, module in imported(room):
        parts = module.split(".")
        if parts[0] == "nnunet_mamba" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] in MAY_IMPORT[room] | {room}, f"{room}/{file} imports {module}"
        if room in WITHOUT_NNUNET:
            assert parts[0] not in ("nnunetv2", "batchgenerators", "batchgeneratorsv2"), (
                f"{room}/{file} imports {module}"
            )


def test_every_room_has_its_rule():
    rooms = {path.parent.name for path in (ROOT / "nnunet_mamba").glob("*/__init__.py")} | {
        "trainers",
        "dataset_conversion",
    }
    assert rooms == set(MAY_IMPORT)


@pytest.mark.parametrize(
    "module", ["nnunet_mamba", "nnunet_mamba.nnunet_plugin", "nnunet_mamba.catalogue", "nnunet_mamba.cli.main"]
)
def test_light_modules_import_no_torch(module):
    heavy = ("torch", "numpy", "numba", "nnunetv2")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"],
                          capture_output=True, text=True, check=True).stdout.strip() == "[]"  # fmt: skip


def test_only_the_catalogue_and_a_trainers_own_file_name_it():
    """So that what lists trainers is made from the catalogue."""
    sources = [
        path for room in ("nnunet_mamba", "trainers", "dataset_conversion") for path in (ROOT / room).rglob("*.py")
    ]
    sources += (ROOT / "benchmarks").rglob("*.py")
    for entry in catalogue.entries():
        named = {path.name for path in sources if re.search(rf"\b{entry.trainer}(_\w+)?\b", path.read_text())}
        wanted = {"catalogue.py", f"{entry.trainer_file}.py"} if entry.trainer_file else set()
        assert named == wanted, f"{entry.trainer}: only its own file and the catalogue may name it"


def test_every_file_is_of_the_oldest_python_promised():
    """setup.cfg promises what its classifiers list. `ast` knows part of 3.10's grammar; .ci/run asks 3.10 itself."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = [
        line.split(" :: ")[-1] for line in setup["metadata"]["classifiers"].splitlines() if "Python :: 3." in line
    ]
    assert setup["options"]["python_requires"] == f">={listed[0]}" == ">=3.10" and listed == [
        "3.10",
        "3.11",
        "3.12",
        "3.13",
    ]
    files = [
        path
        for path in ROOT.rglob("*.py")  # without environments, caches and what `make lint` builds
        if not any(part == "build" or part.startswith(".") for part in path.relative_to(ROOT).parts)
    ]
    assert len(files) > 100
    for path in files:
        ast.parse(path.read_text(), str(path), feature_version=(3, 10))
