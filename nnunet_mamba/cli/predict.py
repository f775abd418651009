"""Predict images of any names and formats with a trained model, of ours or of nnU-Net's own trainers.

torch and nnU-Net are imported to load the model.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from nnunet_mamba.exit_status import stops_raise

MAX_PROBLEMS = 10  # on the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, the images and the output."""
    parser.add_argument(
        "-m",
        dest="model",
        metavar="MODEL",
        required=True,
        help="the model's folder in nnUNet_results, or a zip by nnUNetv2_export_model_to_zip",
    )
    parser.add_argument(
        "-i", dest="images", metavar="IMAGES", type=Path, nargs="+", required=True, help="folders or files"
    )
    parser.add_argument("-o", dest="output", metavar="OUT", type=Path, required=True, help="folder for the labels")
    parser.add_argument("--overlays", action="store_true", help="draw the outlines on the images, in OUT/overlays")
    there = parser.add_mutually_exclusive_group()
    there.add_argument("--overwrite", action="store_true", help="replace labels that are in OUT")
    there.add_argument("--continue", dest="keep", action="store_true", help="predict only what is not in OUT yet")
    how = parser.add_argument_group("how")
    how.add_argument(
        "-f", dest="folds", metavar="FOLD", nargs="+", help="numbers, or all (default: all that there are)"
    )
    how.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="its file's name (default: checkpoint_final.pth, else checkpoint_best.pth, else checkpoint_latest.pth)",
    )
    how.add_argument(
        "--no-mirroring", action="store_true", help="about four times faster in 2-D, slightly less accurate"
    )
    how.add_argument(
        "--step-size", metavar="X", type=float, default=0.5, help="of the window, in patches (default: 0.5)"
    )
    how.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps (default: auto)")


def run(args: argparse.Namespace) -> int:
    """Write labels, masks and overlays; the exit status is 1 if an image could not be predicted."""
    with stops_raise():
        try:
            return _predict(args)
        except KeyboardInterrupt as stop:
            stop.args = (f"what is in {args.output} is whole: run it again with --continue for the rest",)
            raise


def _predict(args: argparse.Namespace) -> int:
    # torch's waiting threads would spin: on a busy machine an image then takes ten times as long
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from nnunet_mamba.prediction import Predictor
    from nnunet_mamba.prediction.cases import find_cases
    from nnunet_mamba.prediction.output import MASKS, OVERLAYS, Existing, predict_files

    predictor = Predictor(
        args.model,
        args.folds,
        args.device,
        mirroring=not args.no_mirroring,
        checkpoint=args.checkpoint,
        step_size=args.step_size,
        progress=True,
    )
    print(f"{predictor.trainer}, fold {' '.join(predictor.folds)}, {predictor.checkpoint}, on {predictor.device}")
    if args.checkpoint is None and "final" not in predictor.checkpoint:
        print("the training has not ended: there is no checkpoint_final.pth")
    cases, others = find_cases(args.images, predictor.reader)
    if others:
        print(f"left out, no images of the model's kind: {len(others)}, such as {others[0].name}")
    existing: Existing = "replace" if args.overwrite else "keep" if args.keep else "refuse"
    start = time.monotonic()
    written, problems = predict_files(predictor, cases, args.output, args.overlays, existing)
    seconds = time.monotonic() - start
    for problem in problems[:MAX_PROBLEMS]:
        print(f"nnunet_mamba predict: error: {problem}", file=sys.stderr)
    if len(problems) > MAX_PROBLEMS:
        print(f"and {len(problems) - MAX_PROBLEMS} more images with errors", file=sys.stderr)
    if kept := len(cases) - written - len(problems):
        print(f"predicted before: {kept}")
    if written:
        speed = f"{seconds:.1f} s, {1000 * seconds / written:.0f} ms per image"
        print(f"{written} image{'s' * (written > 1)} in {speed}; labels: {args.output}")
        for folder, what in ((MASKS, "masks to look at"), (OVERLAYS, "overlays")):
            if (args.output / folder).is_dir():
                print(f"{what}: {args.output / folder}")
    return 1 if problems else 0
