"""Turn weights trained elsewhere into a file for nnU-Net's -pretrained_weights: VMamba's, for SliceMamba."""

import argparse
import os
from pathlib import Path

from nnunet_mamba import catalogue


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to read and for which network to write."""
    parser.add_argument(
        "source", choices=("vmamba",), help="where the weights are from: vmamba, its VSSM as first released"
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint, such as that of VMamba-tiny (96 channels)")
    parser.add_argument(
        "-o", dest="output", required=True, metavar="OUT", help="file to write, for -pretrained_weights OUT"
    )
    parser.add_argument("--in-channels", type=int, default=3, metavar="N", help="channels of the images (default: 3)")
    supernet = catalogue.network("slicemamba_supernet")
    parser.add_argument("--supernet", action="store_true", help=f"for {supernet.trainer} instead of {supernet.finds}")


def run(args: argparse.Namespace) -> None:
    """Write the file, and report each key."""
    import torch

    from nnunet_mamba.networks import SliceMamba, SliceMambaSupernet
    from nnunet_mamba.networks.vmamba import import_vmamba, settings_left_open

    if args.in_channels < 1:
        raise ValueError(f"--in-channels: got {args.in_channels}, wanted 1 or more")
    output = Path(args.output)
    if not output.parent.is_dir():
        raise ValueError(f"-o: {output.parent} is not a folder; make it first")
    weights = _read(Path(args.file))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of what the file does not hold
        network = (SliceMambaSupernet if args.supernet else SliceMamba)(args.in_channels, 2)
    done = import_vmamba(network, weights)
    head = "head.seg_layers."
    state = {name: tensor for name, tensor in settings_left_open(network).items() if not name.startswith(head)}
    beside = output.with_name(f"{output.name}.partial")
    torch.save({"network_weights": state}, beside)
    os.replace(beside, output)
    for name, targets in done.used.items():
        print(f"used     {name} -> {', '.join(targets)}")
    for name, why in done.skipped.items():
        print(f"skipped  {name}: {why}")
    for name in done.missing:
        why = "left to the training, it depends on the classes" if name.startswith(head) else "begins at random"
        print(f"missing  {name}: {why}")
    print(f"{len(done.used)} keys used, {len(done.skipped)} skipped, {len(done.missing)} missing; written: {output}")


def _read(file: Path) -> dict:
    """The state dict in `file`; nothing but tensors and plain values is unpickled."""
    import pickle

    import torch

    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: wanted a torch checkpoint of tensors and plain values ({reason})") from error
    weights = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    tensors = {name: value for name, value in (weights or {}).items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(
            f"{file}: wanted a checkpoint with a state dict, itself or as its 'model'; got {type(loaded).__name__}"
        )
    return tensors
