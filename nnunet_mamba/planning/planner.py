"""nnU-Net's experiment planner for our networks: its rules for data; patch and batch by our networks' memory."""

import json
from functools import cache, partial
from pathlib import Path

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from tqdm import tqdm

from nnunet_mamba import catalogue
from nnunet_mamba.files import replacing
from nnunet_mamba.machine_memory import GIB, GPU, RAM
from nnunet_mamba.planning.memory import resident_bytes, training_bytes
from nnunet_mamba.planning.patch_and_batch import choose, most_estimates, patches_to_try
from nnunet_mamba.planning.training_step import Sizes

SHARED_PLANS = "nnUNetPlans"
# what plans may differ in and still preprocess alike
NOT_OF_DATA = {"data_identifier", "batch_size", "patch_size", "architecture", "batch_dice"}
NOT_OF_DATA |= {entry.sizes_entry for entry in catalogue.NETWORKS}
UNBOUNDED = 1e6  # GB: nnU-Net's own search for a patch ends at once; ours replaces what it found
POOLINGS = 5  # of the U-Net in the plans, so that any multiple of 32 fits it


class MambaPlanner(ExperimentPlanner):
    """Plans the configuration 2d of 2-D and 3-D data sets; a subclass says for which network and which kind of memory.

    `gpu_memory_target_in_gb` is what a training step may take at its peak, in GiB. Spacing, normalization and
    resampling are nnU-Net's. So is the network in the plans, a U-Net for the same patch: nnU-Net's own trainers take
    these plans too. Preprocessed data is shared with nnU-Net's default plans if they preprocess the same way.

    Raises:
        NothingFits: the memory is too small for the smallest patch.
    """

    network: str
    kind: str
    sizes: Sizes = ()

    def __init__(self, dataset_name_or_id: str | int, gpu_memory_target_in_gb: float = 8, *args, **kwargs):
        super().__init__(dataset_name_or_id, UNBOUNDED, *args, **kwargs)
        self.budget = gpu_memory_target_in_gb * GIB
        self.folder = Path(nnUNet_preprocessed, self.dataset_name)

    def generate_data_identifier(self, configuration_name: str) -> str:
        return f"{SHARED_PLANS}_{configuration_name}"

    def get_plans_for_configuration(
        self, spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
    ) -> dict:
        if len(spacing) == 3:
            # not written; a patch of the whole image, so that nnU-Net plans no 3d_lowres either
            return {"patch_size": median_shape, "spacing": spacing}
        plan = super().get_plans_for_configuration(
            spacing, median_shape, data_identifier, approximate_n_voxels_dataset, _cache
        )
        patch, batch = self._choose(
            patches_to_try(median_shape, spacing), approximate_n_voxels_dataset * self.max_dataset_covered
        )
        self._fit_unet(plan["architecture"]["arch_kwargs"], spacing, patch)
        plan |= {"patch_size": list(patch), "batch_size": batch}
        if self.sizes:
            plan[catalogue.network(self.network).sizes_entry] = {name: list(size) for name, size in self.sizes}
        return plan

    def _choose(self, patches: list[tuple[int, int]], most_pixels: float) -> tuple[tuple[int, int], int]:
        """Patch and batch, with a progress bar: each estimate takes seconds."""
        with tqdm(total=most_estimates(patches), desc="planning", unit="estimate") as bar:

            @cache
            def estimate(patch: tuple[int, int], batch_size: int) -> int:
                size = self.estimate(patch, batch_size)
                bar.update()
                return size

            chosen = choose(patches, most_pixels, self.budget, estimate)
            bar.total = bar.n  # often fewer than the most
            bar.refresh()
        return chosen

    def estimate(self, patch_size: tuple[int, int], batch_size: int) -> int:
        """Bytes that a training step takes at its peak, of a GPU's memory or a process's."""
        channels = self.dataset_json.get("channel_names") or self.dataset_json["modality"]
        labels = LabelManager(self.dataset_json["labels"], self.dataset_json.get("regions_class_order"))
        count = resident_bytes if self.kind == RAM else partial(training_bytes, on_gpu=True)
        return count(self.network, len(channels), labels.num_segmentation_heads, patch_size, batch_size, self.sizes)

    def _fit_unet(self, arguments: dict, spacing, patch: tuple[int, int]) -> None:
        _, strides, kernel_sizes, _, _ = get_pool_and_conv_props(
            spacing, patch, self.UNet_featuremap_min_edge_length, POOLINGS
        )
        stages = len(strides)
        arguments |= {
            "n_stages": stages,
            "features_per_stage": [
                min(self.UNet_max_features_2d, self.UNet_base_num_features * 2**i) for i in range(stages)
            ],
            "kernel_sizes": kernel_sizes,
            "strides": strides,
            "n_conv_per_stage": self.UNet_blocks_per_stage_encoder[:stages],
            "n_conv_per_stage_decoder": self.UNet_blocks_per_stage_decoder[: stages - 1],
        }

    def save_plans(self, plans: dict) -> None:
        """Write the plans beside the fingerprint; configurations that the user added to the file stay."""
        recursive_fix_for_json_export(plans)
        plan = plans["configurations"]["2d"]
        if not self._agrees_with_shared(plan, plans["transpose_forward"]):
            plan["data_identifier"] = f"{self.plans_identifier}_2d"
        file = self.folder / f"{self.plans_identifier}.json"
        added = json.loads(file.read_text())["configurations"] if file.exists() else {}
        plans["configurations"] = {"2d": plan} | {name: added[name] for name in added if name != "2d"}
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps(plans, indent=4))

    def _agrees_with_shared(self, plan: dict, transpose_forward: list[int]) -> bool:
        """Whether nnU-Net's default plans, if there are any, preprocess as these do."""
        file = self.folder / f"{SHARED_PLANS}.json"
        if not file.exists():
            return True
        shared = json.loads(file.read_text())
        theirs = shared["configurations"].get("2d", {})
        return shared["transpose_forward"] == transpose_forward and all(
            theirs.get(key) == value for key, value in plan.items() if key not in NOT_OF_DATA
        )


# nnU-Net passes a planner no arguments of ours: each network and kind of memory has its own class, and run.py
# derives one for other sizes
PLANNERS = {
    (entry.key, kind): type(f"{entry.network}Planner{kind}", (MambaPlanner,), {"network": entry.key, "kind": kind})
    for entry in catalogue.NETWORKS
    for kind in (GPU, RAM)
}
