"""A trained supernet and its search cases, from nnU-Net's folders."""

import contextlib
import hashlib
import io
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_mamba import catalogue
from nnunet_mamba.networks import SliceMambaSupernet
from nnunet_mamba.search.cases import SEARCH_CASES_FILE
from nnunet_mamba.search.fitness import Tile, tiles_of

SUPERNET = catalogue.network("slicemamba_supernet")


class TrainedSupernet(NamedTuple):
    """What a search needs of a training of the supernet."""

    network: SliceMambaSupernet  # in eval mode, on the CPU
    cases: list[str]  # kept for the search
    tiles: list[Tile]  # of these cases
    classes: int  # foreground classes or regions
    regions: bool
    batch_size: int  # of the training
    digest: str  # of the checkpoint


def load_supernet(
    fold_folder: Path, checkpoint: str, preprocessed: Path, tiles: int | None = None, seed: int = 0
) -> TrainedSupernet:
    """Read the supernet in `fold_folder` of nnUNet_results, and its search cases from `preprocessed`, the data set's folder.

    nnU-Net's own predictor reads the checkpoint, as `nnUNetv2_predict` does.

    Args:
        tiles: take so many pieces of patch size at most, drawn with `seed`; None takes all.
    Raises:
        ValueError: no such training, one of another network, or search cases that are not there or hold nothing to segment.
    """
    file = fold_folder / checkpoint
    if not file.is_file():
        there = ", ".join(sorted(path.name for path in fold_folder.glob("*.pth"))) or "no checkpoint"
        raise ValueError(
            f"{file} is missing, there is {there} in that folder. Train the supernet first: nnUNetv2_train DATASET 2d FOLD "
            f"-tr {SUPERNET.trainer}; or choose another checkpoint with -chk, another trainer, plans or fold"
        )
    predictor = _predictor(fold_folder, checkpoint)
    if not isinstance(predictor.network, SliceMambaSupernet):
        raise ValueError(
            f"{file}: got a checkpoint of {type(predictor.network).__name__} (trainer {predictor.trainer_name}), wanted one of "
            f"SliceMambaSupernet. Search on a training with -tr {SUPERNET.trainer}"
        )
    cases_file = fold_folder / SEARCH_CASES_FILE
    if not cases_file.is_file():
        raise ValueError(
            f"{cases_file} is missing: {SUPERNET.trainer} writes it when it starts. Train the supernet again"
        )
    cases = json.loads(cases_file.read_text())
    configuration, labels = predictor.configuration_manager, predictor.label_manager
    classes = labels.foreground_regions if labels.has_regions else labels.foreground_labels
    drawn = _tiles(preprocessed, cases, configuration, classes, labels.ignore_label)
    if not any((tile.truth & tile.counted).any() for tile in drawn):
        raise ValueError(
            f"{cases_file}: none of its {len(cases)} cases holds anything to segment, wanted one that does at least"
        )
    if tiles is not None and tiles < len(drawn):
        drawn = [drawn[i] for i in sorted(np.random.default_rng(seed).choice(len(drawn), tiles, replace=False))]
    return TrainedSupernet(
        predictor.network.eval(),
        cases,
        drawn,
        len(classes),
        labels.has_regions,
        configuration.batch_size,
        _digest(file),
    )


def _predictor(fold_folder: Path, checkpoint: str) -> nnUNetPredictor:
    fold = fold_folder.name.removeprefix("fold_")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net tells where it looks for the trainer
            predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
            predictor.initialize_from_trained_model_folder(str(fold_folder.parent), (fold,), checkpoint)
    except (RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{fold_folder / checkpoint}: cannot be read as a checkpoint of the supernet that its plans describe ({reason}). "
            "Train the supernet again, or choose another checkpoint with -chk"
        ) from error
    return predictor


def _tiles(
    preprocessed: Path,
    cases: Sequence[str],
    configuration: ConfigurationManager,
    classes: Sequence[int | Sequence[int]],
    ignore_label: int | None,
) -> list[Tile]:
    folder = preprocessed / configuration.data_identifier
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is missing: wanted the preprocessed cases. Run nnUNetv2_preprocess with the same plans"
        )
    dataset_class = infer_dataset_class(str(folder))
    missing = sorted(set(cases) - set(dataset_class.get_identifiers(str(folder))))
    if missing:
        raise ValueError(
            f"{folder}: wanted the search cases there, {len(missing)} are missing: {', '.join(missing[:5])}"
        )
    dataset = dataset_class(str(folder), cases)
    tiles = []
    for number, case in enumerate(cases):
        image, segmentation = (np.asarray(part[:]) for part in dataset.load_case(case)[:2])
        tiles += tiles_of(
            number, image.astype(np.float32), segmentation[0], configuration.patch_size, classes, ignore_label
        )
    return tiles


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
