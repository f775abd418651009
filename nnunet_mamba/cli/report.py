"""Measure predictions, compare trainers, and write one page that shows where they fail.

torch is imported to measure distances.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_mamba.report.comparison import Comparison, Label

MAX_PROBLEMS = 10  # on the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Trainers or folders, and how to measure."""
    trained = parser.add_argument_group("trainers", "the validation of all their folds, in nnU-Net's folders")
    trained.add_argument("-d", dest="dataset", metavar="ID", help="number or name of the data set")
    trained.add_argument(
        "-tr",
        dest="trainers",
        metavar="TRAINER",
        nargs="+",
        help="the others are compared with the first; TRAINER__PLANS__CONFIGURATION where these differ",
    )
    trained.add_argument("-p", dest="plans", default="nnUNetPlans", help="plans (default: nnUNetPlans)")
    trained.add_argument("-c", dest="configuration", default="2d", help="configuration (default: 2d)")
    folders = parser.add_argument_group("folders", "predictions of any tool; files that are named alike are one case")
    folders.add_argument("--pred", metavar="DIR", type=Path, nargs="+", help="folders of predicted masks")
    folders.add_argument("--gt", metavar="DIR", type=Path, help="folder of true masks")
    folders.add_argument("--images", metavar="DIR", type=Path, help="folder of images: CASE.png or CASE_0000.png")
    folders.add_argument("--names", metavar="NAME", nargs="+", help="one per folder (default: the folders' names)")
    folders.add_argument(
        "--labels",
        metavar="NAME=VALUE",
        nargs="+",
        help="classes, as lesion=255 or heart=1,2 (default: those of dataset.json, or all values in the true masks)",
    )
    folders.add_argument("--ignore-label", metavar="VALUE", type=int, help="pixels of this value do not count")
    how = parser.add_argument_group("how")
    how.add_argument("-o", dest="output", metavar="DIR", type=Path, required=True, help="folder for the report")
    how.add_argument("-np", dest="processes", metavar="N", type=int, default=2, help="processes (default: 2)")
    how.add_argument(
        "--spacing", metavar="MM", type=float, nargs=2, help="size of a pixel, y and x, of images that do not say it"
    )
    how.add_argument("--tolerance", metavar="X", type=float, default=2.0, help="of NSD, in mm or pixels (default: 2)")
    how.add_argument(
        "--soft-dice", action="store_true", help="also the Dice of probabilities, from .npz beside the predictions"
    )
    how.add_argument(
        "--picture-size", metavar="PX", type=int, help="longest side of pictures (default: 640, less of many cases)"
    )
    how.add_argument("--title", help="title of the page")


def run(args: argparse.Namespace) -> int:
    """Write the report; the exit status is 1 if a prediction could not be evaluated."""
    from nnunet_mamba.report.run import Options, printed, write_report

    comparison = _comparison(args)
    options = Options(
        spacing=tuple(args.spacing) if args.spacing else None,
        tolerance=args.tolerance,
        soft_dice=args.soft_dice,
        processes=args.processes,
        side=args.picture_size,
        title=args.title,
        command=_typed(),
    )
    written = write_report(comparison, args.output, options)
    print(printed(written, comparison.trainers))
    for problem in written.problems[:MAX_PROBLEMS]:
        fold = f" fold {problem.fold}" if problem.fold else ""
        print(f"problem: {problem.trainer}{fold}, {problem.case}: {problem.reason}", file=sys.stderr)
    if len(written.problems) > MAX_PROBLEMS:
        print(f"and {len(written.problems) - MAX_PROBLEMS} more, listed on the page", file=sys.stderr)
    return 1 if written.problems else 0


def _comparison(args: argparse.Namespace) -> "Comparison":
    from nnunet_mamba.report.folders import compare_folders
    from nnunet_mamba.report.trained import compare_trained

    of_folders = args.pred, args.gt, args.images, args.names, args.labels, args.ignore_label
    if args.dataset and args.trainers and not any(of_folders):
        return compare_trained(args.dataset, args.trainers, args.plans, args.configuration)
    if args.pred and args.gt and not (args.dataset or args.trainers):
        labels = [_label(text) for text in args.labels or ()]
        return compare_folders(args.pred, args.gt, args.images, args.names, labels, args.ignore_label)
    raise ValueError("wanted either -d ID -tr TRAINER ..., or --pred DIR ... --gt DIR")


def _label(text: str) -> "Label":
    from nnunet_mamba.report.comparison import Label

    match = re.fullmatch(r"(.+)=(\d+(?:,\d+)*)", text)
    if not match:
        raise ValueError(f"--labels: got {text!r}, wanted NAME=VALUE or NAME=VALUE,VALUE")
    return Label(match[1], tuple(map(int, match[2].split(","))))


def _typed() -> str:
    from nnunet_mamba.demo.runner import as_typed

    return as_typed([Path(sys.argv[0]).name, *sys.argv[1:]])
