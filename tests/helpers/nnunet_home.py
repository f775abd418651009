"""A home of nnU-Net's three folders for the tests, and one Python that runs nnU-Net's commands in it.

Each of nnU-Net's commands imports torch for seconds, and so does each process that it starts. Here one process serves
many commands: it calls the function of the console script with the script's arguments. It starts threads instead of
nnU-Net's further processes, and leaves out the plot of the progress, which takes longer than these trainings. Tests of
the real commands are in test_with_nnunet.py.
"""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_mamba import catalogue

SHORT = """
from nnunet_mamba.networks import SliceMamba
from nnunet_mamba.trainers import {base}

class {name}({base}):
    num_epochs = num_iterations_per_epoch = num_val_iterations_per_epoch = 1
"""
SIZES = {"dims": (8, 16, 32), "depths": (1, 2, 1), "depths_decoder": (1, 1, 1)}
SMALL_SLICEMAMBA = f"""
    slicing = ((2, 4), (4, 2)) * 3 + ((2, 2),)

    @staticmethod
    def build_network_architecture(
        plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision=False
    ):
        return SliceMamba(num_input_channels, num_output_channels, **{SIZES})
"""
# a supernet is trained for a search, see tests/search
TRAINERS = [entry.trainer for entry in catalogue.entries() if not entry.finds]


def short(trainer: str) -> str:
    """Name of a user's own trainer: `trainer` for one epoch of one iteration, SliceMamba with a small network."""
    return f"Short{trainer}"


class NnUNetHome:
    """nnU-Net's folders below `root`, a folder of the user's own trainers, and the process that works there."""

    def __init__(self, root: Path):
        self.root = root
        self.raw, self.preprocessed, self.results = (root / name for name in ("raw", "preprocessed", "results"))
        own = root / "trainers_of_the_user"
        own.mkdir(parents=True, exist_ok=True)
        for trainer in TRAINERS:
            source = SHORT.format(base=trainer, name=short(trainer))
            source += SMALL_SLICEMAMBA if trainer == catalogue.network("slicemamba").trainer else ""
            (own / f"short_{trainer}.py").write_text(source)
        self.environment = {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": str(own),
            "nnUNet_def_n_proc": "1",
            "nnUNet_n_proc_DA": "1",
        }
        self._pool = None

    def __enter__(self) -> "NnUNetHome":
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        before = dict(os.environ)
        os.environ.update(self.environment, OMP_NUM_THREADS="1", nnUNet_n_proc_DA="0")
        try:
            self._pool.submit(_prepare).result()
        finally:
            os.environ.clear()
            os.environ.update(before)
        return self

    def __exit__(self, *error) -> None:
        self._pool.shutdown()

    def call(self, function: str, *arguments, **options) -> Any:
        """The result of `module:function` in the process, or the exception that it raised."""
        return self._pool.submit(_call, function, arguments, options).result()

    def command(self, name: str, *arguments: str | int | Path) -> str:
        """What one of nnU-Net's console scripts printed."""
        return self._pool.submit(_command, name, [str(argument) for argument in arguments]).result()

    def fold(self, dataset: str, trainer: str, fold: int | str = 0) -> Path:
        return self.results / dataset / f"{trainer}__nnUNetPlans__2d" / f"fold_{fold}"

    def add_dataset(self, name: str, labels: dict, cases: Sequence[tuple[str, np.ndarray, np.ndarray]], **more) -> None:
        """A raw data set of NIfTI volumes with one channel, from (name of the case, image, labels), each (Z, Y, X)."""
        import SimpleITK

        for case, *arrays in cases:
            for folder, array, ending in zip(("imagesTr", "labelsTr"), arrays, ("_0000", ""), strict=True):
                (self.raw / name / folder).mkdir(parents=True, exist_ok=True)
                volume = SimpleITK.GetImageFromArray(array)
                volume.SetSpacing((1.0, 1.0, 3.0))
                SimpleITK.WriteImage(volume, str(self.raw / name / folder / f"{case}{ending}.nii.gz"))
        description = {
            "channel_names": {"0": "MRI"},
            "labels": labels,
            "numTraining": len(cases),
            "file_ending": ".nii.gz",
        }
        (self.raw / name / "dataset.json").write_text(json.dumps(description | more))


def read_volume(file: Path) -> np.ndarray:
    import SimpleITK

    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def predict_from_python(model: Path, images: Sequence[Path], **options) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What nnUNetPredictor makes of image files: of arrays one by one, and of all arrays as a list."""
    import torch
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False, **options)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    read = [SimpleITKIO().read_images([str(image)]) for image in images]
    single = [predictor.predict_single_npy_array(array, properties) for array, properties in read]
    arrays, properties = (list(column) for column in zip(*read))
    return single, predictor.predict_from_list_of_npy_arrays(arrays, None, properties, None, 1, False, 1)


def _prepare() -> None:
    """Threads where nnU-Net starts processes, one thread of torch where it asks for all cores, and no plot."""
    import multiprocessing
    import threading
    from multiprocessing.pool import ThreadPool
    from types import SimpleNamespace

    import torch
    from nnunetv2.training.logging.nnunet_logger import MetaLogger

    of_method = multiprocessing.get_context
    threads = SimpleNamespace(Pool=ThreadPool, Process=threading.Thread)
    multiprocessing.get_context = lambda method=None: threads if method == "spawn" else of_method(method)
    torch.set_num_threads(1)
    torch.set_num_threads = lambda number: None
    MetaLogger.plot_progress_png = lambda self, folder: Path(folder, "progress.png").touch()


def _call(function: str, arguments: Sequence, options: dict) -> Any:
    module, name = function.split(":")
    return getattr(importlib.import_module(module), name)(*arguments, **options)


def _command(name: str, arguments: Sequence[str]) -> str:
    from contextlib import redirect_stdout
    from importlib.metadata import entry_points
    from io import StringIO

    (script,) = entry_points(group="console_scripts", name=name)
    function = script.load()
    sys.argv = [name, *arguments]
    printed = StringIO()
    with redirect_stdout(printed):
        function()
    return printed.getvalue()
