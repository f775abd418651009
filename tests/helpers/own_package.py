"""A copy of the package with a data set of the test's own, to be run in processes of its own."""

import shutil
from pathlib import Path

import nnunet_mamba
from nnunet_mamba import dataset_conversion


def copy_with_dataset(folder: Path, name: str, source: str) -> None:
    """Copies the package into `folder`, which PYTHONPATH must name, and adds the file `name`.py with `source`."""
    package = folder / "nnunet_mamba"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(nnunet_mamba.__file__).parent, package, ignore=ignore)
    own = Path(dataset_conversion.__file__).parent
    shutil.copytree(own, package / "dataset_conversion", ignore=ignore, dirs_exist_ok=True)
    (package / "dataset_conversion" / f"{name}.py").write_text(source)
