"""The way that every data set takes: find, verify, split, write beside, rename, report."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nnunet_mamba.dataset_conversion.cases import Case
from nnunet_mamba.dataset_conversion.contact_sheet import write_contact_sheet
from nnunet_mamba.dataset_conversion.parallel import open_workers
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.report import make_report, summary_table
from nnunet_mamba.dataset_conversion.source import open_source
from nnunet_mamba.dataset_conversion.splits import hold_out, make_folds
from nnunet_mamba.dataset_conversion.staging import hidden_folder, rename_all
from nnunet_mamba.dataset_conversion.target import Target, find_target
from nnunet_mamba.dataset_conversion.verify import verify_cases
from nnunet_mamba.dataset_conversion.writer import write_cases, write_dataset_json, write_json

PROTOCOLS = ("paper",)
REPORT = "conversion_report.json"
CONTACT_SHEET = "contact_sheet.png"
SPLITS = "splits_final.json"


def convert_dataset(
    recipe: Recipe,
    source: str | Path | Sequence[str | Path],
    dataset_id: int,
    size: tuple[int, int] | None,
    test: int,
    seed: int,
    protocol: str | None,
    processes: int,
    skip_bad: bool,
    own: Mapping[str, Any] | None = None,
) -> Path:
    """Convert `source` by `recipe`; the options are those of `nnunet_mamba convert`. Returns the data set's folder.

    A data set that comes in several folders or zips gives them all as `source`; `recipe.find_cases` takes as many. `own` are the
    data set's own options, for the report.

    The folds are written beside dataset.json, from where nnU-Net's planning takes them, and where nnUNet_preprocessed is set
    also there, where training reads them and planning leaves them as they are.

    Raises:
        ValueError: an option, the source or a case is wrong; nothing was written.
        OSError: reading or writing failed; nothing half-written is left.
    """
    paper = _check_options(recipe, size, protocol, processes)
    target = find_target(dataset_id, recipe.name)
    size = paper.size if paper else size
    crop = paper is not None and paper.crop
    sources = [source] if isinstance(source, str | Path) else source
    with ExitStack() as stack:
        folders = [stack.enter_context(open_source(Path(place), target.raw)) for place in sources]
        workers = stack.enter_context(open_workers(processes))
        found, bad = recipe.find_cases(*folders)
        cases, facts, skipped = verify_cases(found, bad, recipe, workers, skip_bad)
        training, held_out = hold_out([case for case in cases if not case.test], test, seed)
        official = [case for case in cases if case.test]
        _check_groups(training, official)
        in_fold_0 = paper.held_out_of(len(training)) if paper and paper.held_out else None
        folds = make_folds(training, seed, in_fold_0, paper.held_out_groups if paper else ())
        tested = sorted([*held_out, *official], key=lambda case: case.id)

        with hidden_folder(target.raw, target.folder_name) as raw:
            written = write_cases(raw, "Tr", training, recipe, size, crop, workers)
            written_test = write_cases(raw, "Ts", tested, recipe, size, crop, workers) if tested else []
            write_dataset_json(raw, recipe, len(training))
            write_json(raw / SPLITS, folds)
            options = {
                "size": size,
                "test": test,
                "seed": seed,
                "protocol": protocol,
                "skip_bad": skip_bad,
                **(own or {}),
            }
            strata = {case.id: case.stratum for case in cases}
            report = make_report(recipe, options, folders, facts, strata, written, written_test, skipped, folds)
            write_json(raw / REPORT, report)
            write_contact_sheet(raw / CONTACT_SHEET, raw, recipe, written, written_test)
            _publish(target, raw, folds)

    final = target.raw / target.folder_name
    print(f"\n{summary_table(report)}\n\nwritten to {final}; look at {final / CONTACT_SHEET}")
    if target.preprocessed is None:
        print(f"nnUNet_preprocessed is not set: planning will take the folds from {final / SPLITS}")
    print(f"next: nnUNetv2_plan_and_preprocess -d {dataset_id} -c 2d --verify_dataset_integrity")
    return final


def _publish(target: Target, raw: Path, folds: list) -> None:
    """Rename the finished folder, and one with the folds for nnUNet_preprocessed, or neither."""
    moves = [(raw, target.raw / target.folder_name)]
    with ExitStack() as stack:
        if target.preprocessed is not None:
            preprocessed = stack.enter_context(hidden_folder(target.preprocessed, target.folder_name))
            write_json(preprocessed / SPLITS, folds)
            moves.append((preprocessed, target.preprocessed / target.folder_name))
        rename_all(moves)


def _check_groups(training: Sequence[Case], official: Sequence[Case]) -> None:
    shared = sorted({case.group for case in training} & {case.group for case in official})
    if shared:
        named = ", ".join(shared[:5])
        raise ValueError(
            f"{named}: both in the training and in the official test part of the source; leave one of them out"
        )


def _check_options(
    recipe: Recipe, size: tuple[int, int] | None, protocol: str | None, processes: int
) -> PaperProtocol | None:
    """The papers' protocol if it is asked for."""
    if processes < 1:
        raise ValueError(f"-np must be 1 or more, got {processes}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"--size takes height and width in pixels, both 1 or more; got {' '.join(map(str, size))}")
    if protocol is None:
        return None
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if recipe.paper is None:
        raise ValueError(
            f"--protocol {protocol}: no paper gives one for {recipe.name}; leave it out, and give --size if need be"
        )
    if size is not None and recipe.paper.size is None:
        raise ValueError(f"--protocol paper keeps the size of {recipe.name}; leave out --size {size[0]} {size[1]}")
    if size is not None and tuple(size) != recipe.paper.size:
        height, width = recipe.paper.size
        raise ValueError(f"--protocol paper sets --size {height} {width}; leave out --size {size[0]} {size[1]}")
    return recipe.paper
