"""DataWorkers: nnU-Net's processes that prepare batches end with their training, however it ends."""

import atexit
import multiprocessing
import signal
from time import sleep

from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.nnUNetTrainer import nnUNetTrainer as nnunet

from nnunet_mamba.quiet_children import end_with_parent


class FollowingDataLoader(nnUNetDataLoader):
    """nnU-Net's loader, whose worker processes end with their training and leave signals to it."""

    def set_thread_id(self, thread_id: int) -> None:
        """Called in a worker process before its first batch."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # clusters send it to every process
        end_with_parent()  # it would wait for room in a queue, for ever if its training was killed
        super().set_thread_id(thread_id)


class DataWorkers(nnunet.nnUNetTrainer):
    """A trainer that leaves no data worker behind, whether it ends, fails, is stopped or is killed."""

    def get_dataloaders(self) -> tuple:
        atexit.register(_kill_workers)  # runs before multiprocessing's own end, which was registered earlier
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


def _kill_workers() -> None:
    """Of a training that did not come to its end. Python would wait for them, after a SIGTERM that they ignore."""
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()
