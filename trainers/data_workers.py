"""DataWorkers: nnU-Net's processes that prepare batches end with their training, however it ends."""

import atexit
import multiprocessing
import multiprocessing.util  # which registers its own end at exit; ours must come first
import os
import signal
import threading
from multiprocessing.process import BaseProcess
from time import sleep

from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet


class FollowingDataLoader(nnUNetDataLoader):
    """nnU-Net's loader, whose worker processes end with their training and leave signals to it."""

    def set_thread_id(self, thread_id: int) -> None:
        """Called in a worker process before its first batch."""
        follow_parent()
        super().set_thread_id(thread_id)


def follow_parent() -> None:
    """End this process when its parent is gone; ignore Ctrl-C and SIGTERM, which clusters send to every process.

    nnU-Net's workers wait for room in a queue, for ever if their training was killed.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


class DataWorkers(nnunet.nnUNetTrainer):
    """A trainer that leaves no data worker behind, whether it ends, fails, is stopped or is killed."""

    def get_dataloaders(self) -> tuple:
        usual = nnunet.nnUNetDataLoader
        nnunet.nnUNetDataLoader = FollowingDataLoader
        try:
            return super().get_dataloaders()
        finally:
            nnunet.nnUNetDataLoader = usual

    def run_training(self) -> None:
        try:
            super().run_training()
        finally:
            for loader in (self.dataloader_train, self.dataloader_val):
                workers = list(getattr(loader, "_processes", ()))
                if workers:
                    loader.pause_event.set()
                    sleep(0.2)  # a batch that is being taken over from a worker, which must still be there for that
                    loader._finish(timeout=2)
                for worker in workers:
                    worker.kill()


@atexit.register
def _kill_workers() -> None:
    """Of a training that did not come to its end. Python would wait for them, after a SIGTERM that they ignore."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
