"""The network to look at: of any trainer that nnU-Net finds, for a data set's plans or for a patch of one's own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from nnunet_mamba.nnunet_folders import PREPROCESSED, RAW, RESULTS, nnunet_folder


@dataclass
class Subject:
    """A trainer's network and what goes in and out.

    Attributes:
        name: the trainer's.
        trainer: its class.
        plans, configuration: nnU-Net's managers; plans are None where a patch was given.
        in_channels, heads: channels of images and logits; `classes` without a head for background if regions.
        patch: (H, W) or (D, H, W).
        batch: patches per training step.
        has_regions: whether the logits are for regions.
        model: the folder of its trainings, where it is known.
    """

    name: str
    trainer: Any
    plans: Any
    configuration: Any
    in_channels: int
    heads: int
    patch: tuple[int, ...]
    batch: int
    has_regions: bool
    model: Path | None = None

    def build(self, training: bool) -> nn.Module:
        """The network as it is trained, or as it predicts: with one output.

        Raises:
            ValueError: it needs plans.
        """
        supervised = bool(training and getattr(self.trainer, "enable_deep_supervision", True))
        try:
            return self.trainer.build_network_architecture(
                self.plans, self.configuration, self.in_channels, self.heads, enable_deep_supervision=supervised
            )
        except (KeyError, AttributeError, AssertionError, TypeError) as error:
            if self.plans is not None:
                raise
            raise ValueError(f"-tr {self.name}: its network comes from a data set's plans; say -d ID") from error


def subject_of_patch(trainer: str, patch: Sequence[int], channels: int, classes: int, batch: int) -> Subject:
    """For images of `channels`; `classes` are those of the logits, background among them, unless there is only one.

    Raises:
        ValueError: a number is not positive, or nnU-Net finds no such trainer.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

    if min(*patch, channels, classes, batch) < 1 or len(patch) not in (2, 3):
        raise ValueError(
            f"got patch {' '.join(map(str, patch))}, {channels} channels, {classes} classes, batch {batch}; "
            "wanted 2 or 3 axes, and each 1 or more"
        )
    # nnU-Net rebuilds plans without an "architecture" from an old format
    configuration = ConfigurationManager({"patch_size": list(patch), "architecture": {}})
    return Subject(
        trainer, _trainer(trainer), None, configuration, channels, classes, tuple(patch), batch, classes == 1
    )


def subject_of_data_set(trainer: str, dataset: str, plans: str, configuration: str) -> Subject:
    """For a data set in nnUNet_preprocessed that was planned.

    Raises:
        ValueError: there are no such plans, no such configuration in them, or no such trainer.
    """
    from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name

    try:
        name = maybe_convert_to_dataset_name(int(dataset) if dataset.isdecimal() else dataset)
    except RuntimeError as error:
        raise ValueError(f"-d {dataset}: {error}") from error
    folder = nnunet_folder(PREPROCESSED) / name
    file = folder / f"{plans}.json"
    if not file.is_file():
        raise ValueError(f"{file}: not there; plan the data set first, or say another -p")
    descriptions = (folder / "dataset.json", nnunet_folder(RAW) / name / "dataset.json")
    description = next((each for each in descriptions if each.is_file()), None)
    if description is None:
        raise ValueError(f"{descriptions[0]}: not there")
    model = nnunet_folder(RESULTS) / name / f"{trainer}__{plans}__{configuration}"
    return _of_plans(trainer, configuration, file, description, model)


def subject_of_model(model: Path) -> Subject:
    """Of a folder TRAINER__PLANS__CONFIGURATION in nnUNet_results."""
    trainer, _, configuration = model.name.split("__")
    return _of_plans(trainer, configuration, model / "plans.json", model / "dataset.json", model)


def _of_plans(trainer: str, configuration: str, plans_file: Path, description_file: Path, model: Path) -> Subject:
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads(plans_file.read_text(encoding="utf-8")))
    description = json.loads(description_file.read_text(encoding="utf-8"))
    if configuration not in plans.available_configurations:
        raise ValueError(f"-c {configuration}: {plans_file.name} has {', '.join(plans.available_configurations)}")
    manager = plans.get_configuration(configuration)
    labels = plans.get_label_manager(description)
    return Subject(
        trainer,
        _trainer(trainer),
        plans,
        manager,
        determine_num_input_channels(plans, manager, description),
        labels.num_segmentation_heads,
        tuple(manager.patch_size),
        manager.batch_size,
        labels.has_regions,
        model,
    )


def _trainer(name: str) -> Any:
    """The class that nnU-Net's own commands would find."""
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    from nnunet_mamba import catalogue, trainers

    try:
        catalogue.find(name)
    except KeyError:
        try:
            found = recursive_find_trainer_class_by_name(name)
        except RuntimeError as error:
            raise ValueError(f"-tr {name}: nnU-Net finds no such trainer") from error
        if found is None:
            raise ValueError(f"-tr {name}: nnU-Net finds no such trainer") from None
        return found
    return getattr(trainers, name)  # saves nnU-Net's search of seconds
