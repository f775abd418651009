"""Export a trained model, of ours or of nnU-Net's own trainers, to an ONNX file or a torch program, and check the file.

torch and nnU-Net are imported to load the model.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from nnunet_mamba.exit_status import stops_raise
from nnunet_mamba.nnunet_folders import RESULTS, find_dataset_folder, nnunet_folder

NEEDS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": ()}
GIB = 2**30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the format and the output."""
    trained = parser.add_argument_group("the model, by -m or by -d and -tr")
    trained.add_argument("-m", dest="model", metavar="MODEL", type=Path, help="its folder, or nnU-Net's zip of it")
    trained.add_argument("-d", dest="dataset", metavar="ID", help="number or name of its data set")
    trained.add_argument("-tr", dest="trainer", metavar="TRAINER", help="its trainer")
    trained.add_argument("-p", dest="plans", default="nnUNetPlans", help="its plans (default: nnUNetPlans)")
    trained.add_argument("-c", dest="configuration", default="2d", help="its configuration (default: 2d)")
    trained.add_argument("-f", dest="fold", metavar="FOLD", help="a number, or all (default: the only one there is)")
    trained.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="its file's name (default: checkpoint_final.pth, else checkpoint_best.pth, else checkpoint_latest.pth)",
    )
    parser.add_argument("--format", choices=sorted(NEEDS), default="onnx", help="default: onnx")
    parser.add_argument(
        "--patch", metavar="N", type=int, nargs="+", help="size of the images that the file takes (default: the plans')"
    )
    parser.add_argument("-o", dest="output", metavar="FILE", type=Path, required=True, help="file to write")


def run(args: argparse.Namespace) -> None:
    """Write the file, and say how it was checked."""
    _check(args)
    with stops_raise():
        _export(args)


def _check(args: argparse.Namespace) -> None:
    """What can be wrong before anything heavy is imported."""
    if not args.output.parent.is_dir():
        raise ValueError(f"-o: {args.output.parent} is not a folder; make it first")
    if args.output.is_dir():
        raise ValueError(f"-o {args.output}: is a folder, wanted a file's name")
    if missing := [name for name in NEEDS[args.format] if find_spec(name) is None]:
        raise ValueError(
            f'--format {args.format} needs {", ".join(missing)}: pip install "nnunet-mamba[onnx]", or take '
            "--format torch"
        )
    if bool(args.model) == bool(args.dataset or args.trainer) or bool(args.dataset) != bool(args.trainer):
        raise ValueError("wanted either -m MODEL, or -d ID and -tr TRAINER")
    if args.patch and min(args.patch) < 1:
        raise ValueError(f"--patch: got {' '.join(map(str, args.patch))}, wanted 1 or more each")


def _export(args: argparse.Namespace) -> None:
    from nnunet_mamba.export.program import check_torch
    from nnunet_mamba.export.run import export_model
    from nnunet_mamba.prediction import Predictor

    check_torch()
    model = args.model
    if model is None:
        name = f"{args.trainer}__{args.plans}__{args.configuration}"
        model = nnunet_folder(RESULTS) / find_dataset_folder(args.dataset) / name
    predictor = Predictor(model, args.fold, device="cpu", checkpoint=args.checkpoint)
    if len(predictor.folds) > 1:
        raise ValueError(f"got the folds {' '.join(predictor.folds)}, wanted one per file: say -f {predictor.folds[0]}")
    axes = len(predictor.configuration.patch_size)
    if args.patch and len(args.patch) != axes:
        raise ValueError(f"--patch: got {len(args.patch)} sizes, wanted {axes}, as the model has")
    print(
        f"{predictor.trainer}, fold {predictor.folds[0]}, {predictor.checkpoint}: exporting, about a minute", flush=True
    )
    done = export_model(predictor, args.format, args.output, args.patch)
    megabytes = args.output.stat().st_size / 1e6
    print(f"exported in {done.seconds:.0f} s{_peak()}; {megabytes:.0f} MB: {args.output}")
    tried = done.tried
    peak = f", peak memory {tried.bytes / GIB:.2f} GiB" if tried.bytes else ""
    print(
        f"checked with {tried.runtime} in a new process: largest error {done.error:.0e} of the largest logit; "
        f"{tried.seconds:.2f} s per image (here {done.network_seconds:.2f} s){peak}; loaded in "
        f"{tried.load_seconds:.1f} s"
    )


def _peak() -> str:
    """The most memory that this process has taken, where Linux says it in KiB."""
    if not sys.platform.startswith("linux"):
        return ""
    import resource  # Windows has none

    return f", peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB:.1f} GiB"
