"""OneTraining: only one training runs in a results folder, and the folder is known to be writable before any work."""

import os
import socket

import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import distributed

LOCK = "training.lock"
_held: dict[str, object] = {}  # until this process ends; two trainers in one process may share a folder


class OneTraining(nnUNetTrainer):
    """A trainer that locks its results folder for its process before nnU-Net writes anything there.

    Raises:
        RuntimeError: another process trains or validates there.
        OSError: the folder cannot be written to.
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        first = not (distributed.is_available() and distributed.is_initialized()) or distributed.get_rank() == 0
        if first:
            take(results_folder(type(self).__name__, plans, configuration, fold))
        super().__init__(plans, configuration, fold, dataset_json, device)


def results_folder(trainer: str, plans: dict, configuration: str, fold: int | str) -> str:
    """Where nnU-Net lets `trainer` write. A trainer knows it only after nnU-Net has begun to write there."""
    manager = PlansManager(plans)
    return os.path.join(
        nnUNet_results, manager.dataset_name, f"{trainer}__{manager.plans_name}__{configuration}", f"fold_{fold}"
    )


def take(folder: str) -> None:
    """Lock `folder` for this process until it ends, by whatever signal."""
    folder = os.path.realpath(folder)
    if folder in _held:
        return
    path = os.path.join(folder, LOCK)
    try:
        os.makedirs(folder, exist_ok=True)
        _held[folder] = _lock(path)
    except BlockingIOError as error:
        raise RuntimeError(
            f"{folder}: got a folder that another process trains or validates in ({_holder(path)}), wanted a free "
            "one. Wait for that process, stop it, or train another fold"
        ) from error
    except OSError as error:
        raise OSError(
            f"{folder}: got {str(error)!r} when creating {LOCK} there, wanted a writable folder. Point nnUNet_results "
            "to another folder, or change the permissions"
        ) from error


def _lock(path: str) -> object:
    """An object that keeps `path` locked while it lives; raises BlockingIOError if another process has locked it.

    POSIX record locks end with the process. Locks by flock would live on in nnU-Net's data workers, which are forks and
    outlive a killed training. Windows has no forks; there filelock does it.
    """
    try:
        import fcntl
    except ImportError:
        from filelock import FileLock, Timeout

        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            raise BlockingIOError(str(error)) from error
        return lock
    file = open(path, "a+")  # noqa: SIM115 (open as long as it is locked)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError as error:  # on some systems, if it is locked
        raise BlockingIOError(str(error)) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _holder(path: str) -> str:
    try:
        with open(path) as file:
            return file.read() or "unknown"
    except OSError:  # on Windows nobody can read it
        return "unknown"
