"""`convert`: the one way from a downloaded data set to nnU-Net's folders."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunet_mamba.dataset_conversion.dataset import Case, Dataset, PaperProtocol, Undecided
from nnunet_mamba.dataset_conversion.pipeline.contact_sheet import write_contact_sheet
from nnunet_mamba.dataset_conversion.pipeline.parallel import open_workers
from nnunet_mamba.dataset_conversion.pipeline.registry import find_dataset
from nnunet_mamba.dataset_conversion.pipeline.report import make_report, summary_table
from nnunet_mamba.dataset_conversion.pipeline.source import open_source
from nnunet_mamba.dataset_conversion.pipeline.splits import Fold, hold_out, make_folds
from nnunet_mamba.dataset_conversion.pipeline.staging import (
    clear_left_behind,
    hidden_folder,
    interrupts_say_what_is_there,
    rename_all,
    set_aside,
)
from nnunet_mamba.dataset_conversion.pipeline.target import Target, find_target
from nnunet_mamba.dataset_conversion.pipeline.typed import ways_to_settle
from nnunet_mamba.dataset_conversion.pipeline.verify import verify_cases
from nnunet_mamba.dataset_conversion.pipeline.writer import write_cases, write_dataset_json, write_json

PROTOCOLS = ("paper",)
REPORT = "conversion_report.json"
CONTACT_SHEET = "contact_sheet.png"
SPLITS = "splits_final.json"


def convert(
    name: str,
    /,
    source: str | Path | Sequence[str | Path],
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Convert a data set into `nnUNet_raw/DatasetXXX_NAME` and return that folder.

    The folds are written beside dataset.json, where nnU-Net's planning finds them. If nnUNet_preprocessed is set, they
    are also written there: training reads them, and planning leaves them as they are.

    Args:
        name: "PH2", "DSB2018", ...; `nnunet_mamba convert --help` lists the names.
        source: folder or zip, as downloaded. Of "generic": the folders or zips of images and masks, or one of both.
        dataset_id: a free nnU-Net id, 1 to 999.
        size: (H, W) in pixels to resample to. None keeps each image's size.
        test: hold out this many training cases, in whole groups: they go to imagesTs and labelsTs and into no fold.
        seed: decides which cases are held out, and the folds.
        protocol: "paper" takes the papers' image size. If the papers say how many or which cases they evaluate on,
            these become the validation part of fold 0. The other cases share the other four folds.
        processes: more than one are spawned, so a script that asks for them needs `if __name__ == "__main__":`.
        skip_bad: leave out broken cases and list them, instead of an error.
        overwrite: replace this data set if it is there, and remove what was preprocessed of it. Results stay.
        options: the data set's own options, such as `border=True` for "DSB2018".
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, for instance because the disk is full. Nothing half-written is left.
    """
    dataset = original = find_dataset(name)
    sources = _check_sources(dataset, source)
    chosen = dataset.check_options(options)
    if dataset.with_options is not None:
        dataset = dataset.with_options(dataset, **chosen)
    paper = _check_shared_options(dataset, size, protocol, processes)
    target = find_target(dataset_id, dataset.name, sources, overwrite)
    clear_left_behind([folder for folder in (target.raw, target.preprocessed) if folder], target.folder_name)
    shared = {"size": size, "test": test, "seed": seed, "protocol": protocol}
    shared |= {"skip_bad": skip_bad, "overwrite": overwrite}
    size = paper.size if paper else size
    crop = paper is not None and paper.crop
    with ExitStack() as stack:
        stack.enter_context(interrupts_say_what_is_there(target.raw / target.folder_name))
        folders = [
            stack.enter_context(open_source(path, target.raw, target.folder_name, dataset.inner_zips))
            for path in sources
        ]
        workers = stack.enter_context(open_workers(processes))
        try:
            if dataset.with_sources is not None:
                dataset = dataset.with_sources(dataset, folders, workers)
            found, bad = dataset.find_cases(*folders)
        except Undecided as undecided:
            raise ways_to_settle(
                undecided, original, sources, dataset_id, {**shared, "processes": processes}, chosen
            ) from undecided
        if paper:
            found = _without_tests(paper, found, sources)
        cases, measured, skipped = verify_cases(found, bad, dataset, workers, skip_bad)
        training, held_out = hold_out([case for case in cases if not case.test], test, seed)
        official = [case for case in cases if case.test]
        _check_groups(training, official)
        in_fold_0 = paper.held_out_of(len(training)) if paper and paper.held_out else None
        folds = make_folds(training, seed, in_fold_0, paper.held_out_groups if paper else ())
        tested = sorted([*held_out, *official], key=lambda case: case.id)

        with hidden_folder(target.raw, target.folder_name) as raw:
            written = write_cases(raw, "Tr", training, dataset, size, crop, workers)
            written_test = write_cases(raw, "Ts", tested, dataset, size, crop, workers) if tested else []
            write_dataset_json(raw, dataset, len(training))
            write_json(raw / SPLITS, folds)
            # the report has the data set's name already
            own = {option.name: chosen[option.key] for option in dataset.options if option.name != "name"}
            report = make_report(
                dataset,
                options={**shared, **own, **dataset.facts},
                folders=folders,
                source=measured,
                strata={case.id: case.stratum for case in cases},
                groups={case.id: case.group for case in cases},
                training=written,
                test=written_test,
                skipped=skipped,
                folds=folds,
            )
            write_json(raw / REPORT, report)
            write_contact_sheet(raw / CONTACT_SHEET, raw, dataset, written, written_test)
            _publish(target, raw, folds)

    final = target.raw / target.folder_name
    print(f"\n{summary_table(report, tuple(dataset.facts), dataset.mask_values)}\n")
    print(f"written to {final}; look at {final / CONTACT_SHEET}")
    if target.preprocessed is None:
        print(f"nnUNet_preprocessed is not set: planning will take the folds from {final / SPLITS}")
    print(f"next: nnUNetv2_plan_and_preprocess -d {dataset_id} -c 2d --verify_dataset_integrity")
    print(f"then: nnunet_mamba plan -d {dataset_id}, for our networks and your memory")
    return final


def _publish(target: Target, raw: Path, folds: Sequence[Fold]) -> None:
    """Rename the finished folder, and one with the folds for nnUNet_preprocessed, or neither."""
    moves = [(raw, target.raw / target.folder_name)]
    with ExitStack() as stack:
        if target.preprocessed is not None:
            preprocessed = stack.enter_context(hidden_folder(target.preprocessed, target.folder_name))
            write_json(preprocessed / SPLITS, folds)
            moves.append((preprocessed, target.preprocessed / target.folder_name))
        if target.overwrite:
            stack.enter_context(set_aside([final for _, final in moves]))
        rename_all(moves)


def _without_tests(paper: PaperProtocol, cases: Sequence[Case], sources: Sequence[Path]) -> list[Case]:
    """The cases, with the groups that the papers evaluate on no longer test cases: they will validate in fold 0."""
    groups = set(paper.held_out_groups)
    if groups and not groups & {case.group for case in cases}:
        named = ", ".join(paper.held_out_groups)
        raise ValueError(f"{sources[0]}: none of the papers' test scans ({named}); leave out --protocol paper")
    return [replace(case, test=False) if case.group in groups else case for case in cases]


def _check_groups(training: Sequence[Case], official: Sequence[Case]) -> None:
    shared = sorted({case.group for case in training} & {case.group for case in official})
    if shared:
        named = ", ".join(shared[:5])
        raise ValueError(
            f"{named}: both in the training part and in the official test part of the source; leave one of them out"
        )


def _check_sources(dataset: Dataset, source: str | Path | Sequence[str | Path]) -> list[Path]:
    """One path per source of the data set, all different."""
    paths = [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]
    flags = [wanted.flag for wanted in dataset.sources]
    needed = [wanted.flag for wanted in dataset.sources if not wanted.optional]
    if not len(needed) <= len(paths) <= len(flags):
        count = f"{len(needed)} or {len(flags)}" if needed != flags else str(len(flags))
        raise ValueError(f"{dataset.name} takes {count} folders or zips ({', '.join(flags)}), got {len(paths)}")
    if len({path.resolve() for path in paths}) < len(paths):
        leave = f", or leave out {flags[-1]} if it holds all" if needed != flags else ""
        raise ValueError(f"{paths[0]}: given as {' and as '.join(flags)}; give each a folder of its own{leave}")
    return paths


def _check_shared_options(
    dataset: Dataset, size: tuple[int, int] | None, protocol: str | None, processes: int
) -> PaperProtocol | None:
    """The papers' protocol if it was chosen."""
    if processes < 1:
        raise ValueError(f"-np must be 1 or more, got {processes}")
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise ValueError(f"--size takes height and width in pixels, both 1 or more; got {' '.join(map(str, size))}")
    if protocol is None:
        return None
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    paper = dataset.paper
    if paper is None:
        raise ValueError(
            f"--protocol {protocol}: no paper gives one for {dataset.name}; leave it out, and give --size if needed"
        )
    if size is not None and paper.size is None:
        raise ValueError(f"--protocol paper keeps the size of {dataset.name}; leave out --size {size[0]} {size[1]}")
    if size is not None and paper.size is not None and tuple(size) != paper.size:
        height, width = paper.size
        raise ValueError(f"--protocol paper sets --size {height} {width}; leave out --size {size[0]} {size[1]}")
    return paper
