"""A trained model as a function of an image."""

import io
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import SimpleITK
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_mamba.devices import best_device
from nnunet_mamba.messages import first_line
from nnunet_mamba.prediction.images import Case, Image, ImageReader
from nnunet_mamba.prediction.model import find_model
from nnunet_mamba.prediction.network import build_network, read_weights, trainer_class


class Predictor:
    """A trained model, loaded once: `Predictor(model)(image)` are the image's labels.

    The labels equal what `nnUNetv2_predict` writes: nnU-Net does the preprocessing, sliding window, resampling back and
    conversion to labels. Like that command it applies no postprocessing.pkl. Nothing is unpickled but tensors and plain
    values, no processes are started, and nnU-Net's three variables are not needed. Threads may share a predictor: the
    network serves one at a time.

    Args:
        model: the model's folder, or a zip by `nnUNetv2_export_model_to_zip`; of any trainer that nnU-Net finds.
        folds: numbers, or `all`; their logits are averaged. By default all folds that have the checkpoint.
        device: auto (CUDA or Apple's GPU if there is one), cpu, cuda, cuda:1, mps.
        mirroring: predict mirrored images as well and average, as nnU-Net does by default: four times the work in
            2-D, eight times in 3-D.
        checkpoint: a file's name. By default checkpoint_final.pth, or else checkpoint_best.pth, or
            checkpoint_latest.pth: the attribute `checkpoint` says which.
        step_size: of the sliding window, in patches: more than 0, at most 1.
        progress: show a bar of each volume's tiles on stderr.
    Raises:
        OSError: there is no such file or folder.
        ValueError: no model, a damaged checkpoint, a trainer that is not installed, or no such device or step.
    """

    def __init__(
        self,
        model: str | Path,
        folds: int | str | Iterable[int | str] | None = None,
        device: str | torch.device = "auto",
        mirroring: bool = True,
        checkpoint: str | None = None,
        step_size: float = 0.5,
        progress: bool = False,
    ):
        if not 0 < step_size <= 1:
            raise ValueError(f"got the step size {step_size}, wanted more than 0 and at most 1 patch")
        found = find_model(model, folds, checkpoint)
        self.folds, self.checkpoint = found.folds, found.checkpoint
        self.plans, self.dataset = found.plans, found.dataset
        self.device = _usable(device)
        weights = []
        for file in found.files():
            saved = read_weights(file)
            weights.append(saved["network_weights"])
            if len(weights) == 1:
                self.trainer, configuration = saved["trainer_name"], saved["init_args"]["configuration"]
                self.mirroring_axes = tuple(saved.get("inference_allowed_mirroring_axes") or ())
        plans_manager = PlansManager(self.plans)
        self.configuration = plans_manager.get_configuration(configuration)
        if self.configuration.previous_stage_name is not None:
            raise ValueError(
                f"{model}: got the cascade's second stage, wanted a model that needs only the image: use "
                "nnUNetv2_predict with -prev_stage_predictions"
            )
        channels = self.dataset.get("channel_names") or self.dataset["modality"]
        self.reader = ImageReader(plans_manager.image_reader_writer_class(), list(channels.values()))
        self._preprocessor = self.configuration.preprocessor_class(verbose=False)
        label_manager = plans_manager.get_label_manager(self.dataset)
        trainer = trainer_class(self.trainer)
        arguments = plans_manager, self.configuration, len(channels), label_manager.num_segmentation_heads
        self.networks = [build_network(trainer, arguments, state).to(self.device).eval() for state in weights]
        with redirect_stdout(io.StringIO()):  # it says that without CUDA it works on the CPU
            self._nnunet = nnUNetPredictor(
                tile_step_size=step_size,
                use_mirroring=mirroring,
                perform_everything_on_device=self.device.type == "cuda",
                device=self.device,
                allow_tqdm=progress and not self.reader.of_pictures,
            )
            self._nnunet.manual_initialization(
                self.networks[0],
                plans_manager,
                self.configuration,
                None,
                self.dataset,
                self.trainer,
                self.mirroring_axes or None,
            )
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Predictor({self.trainer}, fold {' '.join(self.folds)}, {self.checkpoint}, on {self.device})"

    @property
    def labels(self) -> dict[str, Any]:
        """The names of the labels, or regions, and their values."""
        return self.dataset["labels"]

    def __call__(
        self, image: Image | Iterable[Image], probabilities: bool = False, spacing: Sequence[float] | None = None
    ) -> Any:
        """Labels of an image, or the list of the labels of many.

        Args:
            image: an array, a SimpleITK image or a path; or an iterable of these, in which a list of paths is one case
                whose channels lie in several files.
            probabilities: return (labels, probabilities).
            spacing: of arrays, (z, y, x) or of one slice (y, x), in mm; not for models of natural images.
        Shape:
            array: (H, W) or (H, W, C) for a model of natural images, else (Y, X) or (Z, Y, X); or (C, Z, Y, X).
            labels: the image's size without channels, uint8 (uint16 from 255 labels).
            probabilities: (K, *size) float32; K labels with background, or K regions.
        Raises:
            OSError, TypeError, ValueError: as `ImageReader.read`.
        """
        if isinstance(image, np.ndarray | SimpleITK.Image | str | Path) or not isinstance(image, Iterable):
            return self._predicted(image, probabilities, spacing)
        return [self._predicted(one, probabilities, spacing) for one in image]

    def _predicted(self, image: Any, probabilities: bool, spacing: Sequence[float] | None) -> Any:
        case = self.reader.read(image, spacing)
        labels, certain = self.predict(case, probabilities)
        if case.flat:
            labels, certain = labels[0], None if certain is None else certain[:, 0]
        return (labels, certain) if probabilities else labels

    def predict(self, case: Case, probabilities: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """The labels (Z, Y, X) of a case that `reader` read, and its probabilities (K, Z, Y, X) if wanted."""
        nnunet = self._nnunet
        data, _, properties = self._preprocessor.run_case_npy(
            case.channels, None, dict(case.properties), nnunet.plans_manager, self.configuration, self.dataset
        )
        with self._lock:
            logits = self._logits(torch.from_numpy(data))
        result = convert_predicted_logits_to_segmentation_with_correct_shape(
            logits.numpy(),
            nnunet.plans_manager,
            self.configuration,
            nnunet.label_manager,
            properties,
            return_probabilities=probabilities,
            num_threads_torch=torch.get_num_threads(),  # leave it: other threads may be computing
        )
        return result if probabilities else (result, None)

    @torch.inference_mode()
    def _logits(self, data: torch.Tensor) -> torch.Tensor:
        """The folds' mean, in the same order and precision as nnU-Net, which loads the weights again for each image."""
        total: Any = None
        for network in self.networks:
            self._nnunet.network = network
            logits = self._nnunet.predict_sliding_window_return_logits(data).cpu()
            total = logits if total is None else total.add_(logits)
        return total.div_(len(self.networks)) if len(self.networks) > 1 else total


def _usable(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(best_device() if device == "auto" else device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"got the device {device}, which torch cannot use here ({first_line(error)}); wanted {best_device()}"
        ) from error
    return chosen
