"""Plans with the batch of a column, from plans that nnU-Net made.

    python plans.py PLANNED.json NEW.json --patch 192 256 --batch 8

All rows of a column need the same patch and batch, but nnU-Net's planners choose the batch by the network's memory. The
patch must be the planned one, which fits the network.
"""

import argparse
import json
from pathlib import Path

from nnunet_mamba.files import replacing

DATA = "nnUNetPlans_2d"  # one preprocessed copy serves all plans


def with_batch(plans: dict, name: str, patch: list[int], batch: int, slicemamba: dict | None = None) -> dict:
    """`plans` under another name, with its 2d configuration only.

    Raises:
        ValueError: the planned patch is another one, or the plans need preprocessed data of their own.
    """
    configuration = plans["configurations"]["2d"]
    if list(configuration["patch_size"]) != list(patch):
        raise ValueError(
            f"patch: got {list(patch)} in config.yaml, but nnU-Net plans {list(configuration['patch_size'])} for these "
            "images; wanted the planned one. Set `patch`, or convert to another size"
        )
    if configuration["data_identifier"] != DATA:
        raise ValueError(
            f"got plans for the preprocessed data {configuration['data_identifier']}, wanted {DATA}: rows are only "
            "compared on the same data. Choose a planner that shares it"
        )
    changed = configuration | {"batch_size": batch} | ({"slicemamba": slicemamba} if slicemamba else {})
    return plans | {"plans_name": name, "configurations": {"2d": changed}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("planned", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--patch", type=int, nargs=2, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--slicemamba", type=json.loads, help="sizes of SliceMamba")
    args = parser.parse_args()
    plans = json.loads(args.planned.read_text())
    try:
        made = with_batch(plans, args.new.stem, args.patch, args.batch, args.slicemamba)
    except ValueError as error:
        raise SystemExit(f"{args.planned}: {error}") from error
    with replacing(args.new) as unfinished:
        unfinished.write_text(json.dumps(made, indent=2))


if __name__ == "__main__":
    main()
