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
from tqdm import tqdm

from nnunet_mamba import catalogue
from nnunet_mamba.networks import SliceMambaSupernet
from nnunet_mamba.search.cases import SEARCH_CASES_FILE
from nnunet_mamba.search.fitness import Tile, tiles_of

SUPERNET = catalogue.network("slicemamba_supernet")


class TrainedSupernet(NamedTuple):
    """A trained supernet and what the search needs to know about its training."""

    network: SliceMambaSupernet  # in eval mode, on the CPU
    cases: list[str]  # the search cases
    tiles: list[Tile]  # of these cases
    classes: int  # number of foreground classes or regions
    regions: bool
    batch_size: int  # in training
    digest: str  # of the checkpoint file


def load_supernet(
    fold_folder: Path, checkpoint: str, preprocessed: Path, tiles: int | None = None, seed: int = 0
) -> TrainedSupernet:
    """Read a supernet and its search cases. The checkpoint is read by nnU-Net's predictor, as in `nnUNetv2_predict`.

    Args:
        fold_folder: the fold's folder in nnUNet_results.
        preprocessed: the data set's folder in nnUNet_preprocessed.
        tiles: the largest number of tiles, drawn with `seed`; None takes all.
    Raises:
        ValueError: no such training, a training of another network, or search cases that are missing or have no
            foreground.
    """
    file = fold_folder / checkpoint
    if not file.is_file():
        found = ", ".join(sorted(path.name for path in fold_folder.glob("*.pth"))) or "no checkpoint"
        raise ValueError(
            f"{file} is missing; its folder has {found}. Train the supernet first (nnUNetv2_train DATASET 2d FOLD "
            f"-tr {SUPERNET.trainer}), or choose another checkpoint with -chk, another trainer, plans or fold"
        )
    predictor = _predictor(fold_folder, checkpoint)
    if not isinstance(predictor.network, SliceMambaSupernet):
        raise ValueError(
            f"{file}: got a checkpoint of {type(predictor.network).__name__} (trainer {predictor.trainer_name}), "
            f"wanted one of SliceMambaSupernet. Train with -tr {SUPERNET.trainer}"
        )
    cases_file = fold_folder / SEARCH_CASES_FILE
    if not cases_file.is_file():
        raise ValueError(
            f"{cases_file} is missing: {SUPERNET.trainer} writes it at the start. Train the supernet again"
        )
    cases = json.loads(cases_file.read_text())
    configuration, labels = predictor.configuration_manager, predictor.label_manager
    classes = labels.foreground_regions if labels.has_regions else labels.foreground_labels
    drawn = _tiles(preprocessed, cases, configuration, classes, labels.ignore_label)
    if not any((tile.truth & tile.counted).any() for tile in drawn):
        raise ValueError(
            f"{cases_file}: none of its {len(cases)} cases has any foreground, wanted at least one that has"
        )
    if tiles is not None and tiles < len(drawn):
        drawn = [drawn[i] for i in sorted(np.random.default_rng(seed).choice(len(drawn), tiles, replace=False))]
    return TrainedSupernet(
        network=predictor.network.eval(),
        cases=cases,
        tiles=drawn,
        classes=len(classes),
        regions=labels.has_regions,
        batch_size=configuration.batch_size,
        digest=_digest(file),
    )


def _predictor(fold_folder: Path, checkpoint: str) -> nnUNetPredictor:
    fold = fold_folder.name.removeprefix("fold_")
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # nnU-Net prints where it looks for the trainer
            predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
            predictor.initialize_from_trained_model_folder(str(fold_folder.parent), (fold,), checkpoint)
    except (RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{fold_folder / checkpoint}: cannot be read as a checkpoint of the supernet in its plans ({reason}). "
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
            f"{folder} is missing, wanted the preprocessed cases. Run nnUNetv2_preprocess with the same plans"
        )
    dataset_class = infer_dataset_class(str(folder))
    missing = sorted(set(cases) - set(dataset_class.get_identifiers(str(folder))))
    if missing:
        raise ValueError(
            f"{folder}: {len(missing)} search cases are missing: {', '.join(missing[:5])}. Preprocess them again"
        )
    dataset = dataset_class(str(folder), cases)
    tiles = []
    for number, case in enumerate(tqdm(cases, desc="loading", unit="case")):
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
