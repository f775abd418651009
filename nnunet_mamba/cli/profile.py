"""Say what a trainer's network costs: parameters, multiply-adds with the scan, time and memory on this machine."""

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The trainer, what it is for, and where the files go."""
    parser.add_argument("-tr", dest="trainer", metavar="TRAINER", required=True, help="any trainer that nnU-Net finds")
    planned = parser.add_argument_group("for a data set that was planned")
    planned.add_argument("-d", dest="dataset", metavar="ID", help="number or name of the data set")
    planned.add_argument("-p", dest="plans", default="nnUNetPlans", help="plans (default: nnUNetPlans)")
    planned.add_argument("-c", dest="configuration", default="2d", help="configuration (default: 2d)")
    free = parser.add_argument_group("or for a patch of your own (our networks only)")
    free.add_argument("--patch", metavar="N", type=int, nargs="+", help="height and width in pixels")
    free.add_argument("--channels", metavar="N", type=int, default=3, help="of the images (default: 3)")
    free.add_argument(
        "--classes", metavar="N", type=int, default=2, help="with background; 1 for one sigmoid output (default: 2)"
    )
    parser.add_argument(
        "--batch", metavar="N", type=int, help="patches per training step (default: the plans', or 2 without plans)"
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where to measure (default: auto)"
    )
    parser.add_argument(
        "-o",
        dest="output",
        metavar="DIR",
        type=Path,
        help="folder for profile.json and profile.png (default: the trainer's folder in nnUNet_results, where "
        "`nnunet_mamba report` finds it; without -d the current folder)",
    )


def run(args: argparse.Namespace) -> None:
    """Count, measure, and write the table, the JSON and the picture."""
    if bool(args.dataset) == bool(args.patch):
        raise ValueError("wanted either -d ID or --patch HEIGHT WIDTH")
    if args.batch is not None and args.batch < 1:
        raise ValueError(f"--batch: got {args.batch}, wanted 1 or more")
    from nnunet_mamba.costs.arithmetic import count
    from nnunet_mamba.costs.measured import measure
    from nnunet_mamba.costs.report import as_json, draw, table
    from nnunet_mamba.costs.subject import subject_of_data_set, subject_of_patch
    from nnunet_mamba.devices import best_device
    from nnunet_mamba.files import replacing

    if args.dataset:
        subject = subject_of_data_set(args.trainer, args.dataset, args.plans, args.configuration)
        subject.batch = args.batch or subject.batch
    else:
        subject = subject_of_patch(args.trainer, args.patch, args.channels, args.classes, args.batch or 2)
    arithmetic = count(subject)
    measured = measure(subject, best_device() if args.device == "auto" else args.device)
    output = args.output or subject.model or Path()
    output.mkdir(parents=True, exist_ok=True)
    with replacing(output / "profile.json") as unfinished:
        unfinished.write_text(json.dumps(as_json(subject, arithmetic, measured), indent=1), encoding="utf-8")
    with replacing(output / "profile.png") as unfinished:
        draw(subject, arithmetic, measured, unfinished)
    print(table(subject, arithmetic, measured))
    print(f"\n  {output / 'profile.json'}\n  {output / 'profile.png'}")
