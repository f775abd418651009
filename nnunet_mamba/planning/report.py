"""What `nnunet_mamba plan` prints: a table, and the commands to run next."""

from nnunet_mamba import catalogue
from nnunet_mamba.machine_memory import GIB, RAM
from nnunet_mamba.nnunet_folders import dataset_number
from nnunet_mamba.planning.budget import Budget
from nnunet_mamba.planning.epochs import advice, advised_epochs
from nnunet_mamba.planning.planner import SHARED_PLANS
from nnunet_mamba.planning.run import Planned

ON_GPU = "The estimate is for float32. nnU-Net's mixed precision needs less: an upper bound, not yet measured on a GPU."


def report(network: str, budget: Budget, planned: Planned) -> str:
    """The table, where the preprocessed data is, the next commands, and how many epochs to train."""
    entry = catalogue.network(network)
    dataset_id = dataset_number(planned.dataset)
    size = budget.kind, planned.training_cases, planned.configuration["batch_size"]
    epochs = f"_{advised_epochs(*size)}epochs"
    trainer = f"{entry.trainer}{epochs}"
    height, width = planned.configuration["patch_size"]
    median = " x ".join(f"{length:g}" for length in planned.configuration["median_image_size_in_voxels"])
    on_cpu = " -device cpu" if budget.kind == RAM else ""
    data = planned.configuration["data_identifier"]
    shared = data.startswith(f"{SHARED_PLANS}_")
    of_data = f"{data}, " + (
        "shared with nnU-Net's default plans" if shared else "not shared: nnU-Net's default plans differ"
    )
    rows = {
        "network": f"{entry.network} ({entry.trainer})",
        "median image": median,
        "patch": f"{height} x {width}",
        "batch": planned.configuration["batch_size"],
        "a training step": f"{planned.step_bytes / GIB:.2f} GiB, estimated",
        "beside it": f"{budget.outside:g} GiB",
        "planned for": str(budget),
        "plans": planned.file,
        "preprocessed data": of_data,
    }
    plans = f"-p {planned.name}"
    preprocess = f"nnUNetv2_preprocess -d {dataset_id} -plans_name {planned.name} -c 2d"
    train = f"nnUNetv2_train {dataset_id} 2d 0 -tr {trainer} {plans}{on_cpu}"
    if entry.finds:
        then = [
            f"nnunet_mamba search -d {dataset_id} -f 0 {plans} -tr {trainer}",
            f"nnUNetv2_train {dataset_id} 2d 0 -tr {entry.finds}{epochs} {plans}{on_cpu}",
        ]
    else:
        then = [f"nnUNetv2_predict -d {dataset_id} -c 2d -f 0 -tr {trainer} {plans} -i IMAGES -o PREDICTIONS{on_cpu}"]
    commands = [preprocess, train, *then]
    lines = [f"  {name:18} {value}" for name, value in rows.items()]
    lines += [] if on_cpu else ["", ON_GPU]
    lines += ["", "Preprocessed already. Next:" if planned.is_preprocessed else "Next:"]
    lines += [f"  {command}" for command in commands[planned.is_preprocessed :]]
    return "\n".join(["", *lines, "", *advice(*size)])
