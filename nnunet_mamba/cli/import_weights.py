"""Convert the authors' weights, or VMamba's for SliceMamba, into a file for nnU-Net's -pretrained_weights."""

import argparse
import inspect
from pathlib import Path
from typing import Any

from nnunet_mamba import catalogue
from nnunet_mamba.checkpoints import read_checkpoint
from nnunet_mamba.files import replacing

VMAMBA = "vmamba"
SOURCES = (VMAMBA, *(entry.key for entry in catalogue.NETWORKS if not entry.finds))
INSIDE = ("state_dict", "model_state_dict", "model", "net")  # where checkpoints keep their state dict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, the output and what the network should be like."""
    parser.add_argument(
        "source",
        choices=SOURCES,
        help="whose weights: those of a network's authors; or vmamba, its VSSM as first released, for SliceMamba",
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint: a state dict, or Lightning's")
    parser.add_argument(
        "-o", dest="output", required=True, metavar="OUT", help="file to write; then train with -pretrained_weights OUT"
    )
    parser.add_argument(
        "--in-channels", type=int, metavar="N", help="channels of the images (default: the weights' own; vmamba: 3)"
    )
    parser.add_argument(
        "--patch",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="patch size of the training, where the network depends on it (default: the weights' own)",
    )
    supernet = catalogue.network("slicemamba_supernet")
    parser.add_argument(
        "--supernet", action="store_true", help=f"vmamba: write for {supernet.trainer}, not {supernet.finds}"
    )


def run(args: argparse.Namespace) -> None:
    """Write the file and report every key."""
    import torch

    from nnunet_mamba.networks.transfer import TO_CLASSES, state_for_any_slicing

    network = _network(args)
    output = Path(args.output)
    if not output.parent.is_dir():
        raise ValueError(f"-o: {output.parent} is not a folder; make it first")
    weights = _read(Path(args.file))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for the tensors that the file does not have
        try:
            built, done, arguments = _imported(network, args, weights)
        except ValueError as error:
            raise ValueError(f"{args.file}: {str(error).removeprefix('state_dict: ')}") from error
    state = {name: tensor for name, tensor in state_for_any_slicing(built).items() if TO_CLASSES not in name}
    with replacing(output) as unfinished:
        torch.save({"network_weights": state}, unfinished)
    for name, targets in done.used.items():
        print(f"used     {name} -> {', '.join(targets)}")
    for name, why in done.skipped.items():
        print(f"skipped  {name}: {why}")
    for name in done.missing:
        why = "it depends on the classes, so nnU-Net does not load it" if TO_CLASSES in name else "starts at random"
        print(f"missing  {name}: {why}")
    print(f"for      {_fits(arguments)}")
    print(f"{len(done.used)} keys used, {len(done.skipped)} skipped, {len(done.missing)} missing; written: {output}")


def _network(args: argparse.Namespace) -> Any:
    """The class that the file is for. Raises a ValueError that names an option that does not suit it."""
    from nnunet_mamba import networks
    from nnunet_mamba.networks.input_size import check_input_size

    if args.in_channels is not None and args.in_channels < 1:
        raise ValueError(f"--in-channels: got {args.in_channels}, wanted 1 or more")
    if args.supernet and args.source != VMAMBA:
        raise ValueError("--supernet: only VMamba's weights serve a supernet; leave it out")
    slicemamba = "slicemamba_supernet" if args.supernet else "slicemamba"
    network = getattr(networks, catalogue.network(slicemamba if args.source == VMAMBA else args.source).network)
    if args.patch:
        if "input_size" not in inspect.signature(network).parameters:
            raise ValueError(f"--patch: {network.__name__} fits every patch size; leave it out")
        check_input_size("--patch", args.patch)
    return network


def _imported(network: Any, args: argparse.Namespace, weights: dict) -> tuple[Any, Any, dict[str, Any]]:
    """The network with the weights, what became of each key, and the network's arguments."""
    from nnunet_mamba.networks.input_size import padded_size
    from nnunet_mamba.networks.transfer import import_published
    from nnunet_mamba.networks.vmamba import import_vmamba

    arguments: dict[str, Any] = {"in_channels": args.in_channels} if args.in_channels else {}
    if args.source == VMAMBA:
        arguments = {"in_channels": 3} | arguments
        built = network(num_classes=2, **arguments)
        return built, import_vmamba(built, weights), arguments
    if args.patch:
        arguments["input_size"] = padded_size(tuple(args.patch))
    return import_published(network, weights, **arguments)


def _fits(arguments: dict[str, Any]) -> str:
    """What a network must be like to take the file."""
    said = [f"in_channels {arguments['in_channels']}"]
    if "input_size" in arguments:
        height, width = arguments["input_size"]
        said.append(f"patches of {height}x{width} once padded to multiples of 32")
    sizes = catalogue.network("slicemamba").sizes
    said += [f"{name} {' '.join(map(str, arguments[name]))}" for name in sizes if name in arguments]
    return ", ".join(said)


def _read(file: Path) -> dict:
    """The state dict in `file`."""
    import torch

    loaded = read_checkpoint(file)
    if isinstance(loaded, dict) and "network_weights" in loaded:
        raise ValueError(f"{file}: got a checkpoint of nnU-Net; -pretrained_weights takes it as it is")
    content = loaded if isinstance(loaded, dict) else {}
    held = next((content[key] for key in INSIDE if isinstance(content.get(key), dict)), content)
    tensors = {name: value for name, value in held.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(
            f"{file}: got {type(loaded).__name__} without weights, wanted a state dict, or a checkpoint that has one "
            f"as its {', '.join(map(repr, INSIDE[:-1]))} or {INSIDE[-1]!r}"
        )
    return tensors
