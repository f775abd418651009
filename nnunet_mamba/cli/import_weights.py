"""Convert VMamba's weights into a file for SliceMamba and nnU-Net's -pretrained_weights."""

import argparse
import re
from pathlib import Path

from nnunet_mamba import catalogue
from nnunet_mamba.files import replacing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, the output and the network."""
    parser.add_argument("source", choices=("vmamba",), help="source of the weights: vmamba, its VSSM as first released")
    parser.add_argument("file", metavar="FILE", help="the checkpoint, for instance VMamba-tiny's (96 channels)")
    parser.add_argument(
        "-o", dest="output", required=True, metavar="OUT", help="file to write; then train with -pretrained_weights OUT"
    )
    parser.add_argument("--in-channels", type=int, default=3, metavar="N", help="channels of the images (default: 3)")
    supernet = catalogue.network("slicemamba_supernet")
    parser.add_argument("--supernet", action="store_true", help=f"write for {supernet.trainer}, not {supernet.finds}")


def run(args: argparse.Namespace) -> None:
    """Write the file and report every key."""
    import torch

    from nnunet_mamba.networks import SliceMamba, SliceMambaSupernet
    from nnunet_mamba.networks.vmamba import import_vmamba, state_for_any_slicing

    if args.in_channels < 1:
        raise ValueError(f"--in-channels: got {args.in_channels}, wanted 1 or more")
    output = Path(args.output)
    if not output.parent.is_dir():
        raise ValueError(f"-o: {output.parent} is not a folder; make it first")
    weights = _read(Path(args.file))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # for the tensors that the file does not have
        network = (SliceMambaSupernet if args.supernet else SliceMamba)(args.in_channels, 2)
    done = import_vmamba(network, weights)
    head = "head.seg_layers."
    state = {name: tensor for name, tensor in state_for_any_slicing(network).items() if not name.startswith(head)}
    with replacing(output) as unfinished:
        torch.save({"network_weights": state}, unfinished)
    for name, targets in done.used.items():
        print(f"used     {name} -> {', '.join(targets)}")
    for name, why in done.skipped.items():
        print(f"skipped  {name}: {why}")
    for name in done.missing:
        why = "not in the file, it depends on the classes" if name.startswith(head) else "starts at random"
        print(f"missing  {name}: {why}")
    print(f"{len(done.used)} keys used, {len(done.skipped)} skipped, {len(done.missing)} missing; written: {output}")


def _read(file: Path) -> dict:
    """The state dict in `file`. Only tensors and plain values are unpickled."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's unpickler, about files that it then refuses
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"{file}: got {_what_it_is(file, str(error))}, wanted a torch checkpoint of tensors and plain values"
        ) from error
    weights = loaded.get("model", loaded) if isinstance(loaded, dict) else None
    tensors = {name: value for name, value in (weights or {}).items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ValueError(
            f"{file}: wanted a state dict, or a checkpoint that has one as its 'model'; got {type(loaded).__name__}"
        )
    return tensors


def _what_it_is(file: Path, error: str) -> str:
    """What kind of file torch refused with `error`, whose text advises to unpickle anything."""
    with open(file, "rb") as opened:
        start = opened.read(512).lstrip().lower()
    if not start:
        return "an empty file"
    if start.startswith(b"<"):
        return "a web page (download the file itself)"
    if "TorchScript" in error:
        return "a TorchScript archive, which holds code"
    if named := re.search(r"GLOBAL ([\w.]+)", error):
        return f"objects of the type {named[1]}, which may run code when they are read (save its state dict only)"
    if start.startswith(b"pk"):
        return "a zip file that torch cannot read: cut off (download it again), or not a checkpoint"
    return "a file that torch did not write, or that is damaged (download it again)"
