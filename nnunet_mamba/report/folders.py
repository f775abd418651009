"""Finds what to compare in plain folders of predictions, of any tool."""

import json
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from nnunet_mamba.report.comparison import CaseFiles, Comparison, Label, PredictionFile, Problem, labels_of
from nnunet_mamba.report.reading import ending_of, read_labels, stem_of, values_of


def compare_folders(
    predictions: Sequence[Path],
    truth: Path,
    images: Path | None,
    names: Sequence[str] | None = None,
    labels: Sequence[Label] | None = None,
    ignore: int | None = None,
) -> Comparison:
    """Folders of predictions against a folder of truth: files that are named alike belong to one case.

    Classes are the given `labels`; or else those of a dataset.json in `truth` or its parent; or else the values
    that the masks of `truth` hold.

    Raises:
        ValueError: a folder is missing or has no masks, or names are not one per folder.
    """
    folders = [Path(folder) for folder in predictions]
    names = list(names) if names else _short_names(folders)
    if len(names) != len(folders) or len(set(names)) != len(names):
        raise ValueError(f"--names: got {' '.join(names)}, wanted {len(folders)} different ones, one per folder")
    problems: list[Problem] = []
    true = masks_in(truth)
    if not true:
        raise ValueError(f"{truth}: got no masks, wanted files that end in .png, .nii.gz or the like")
    found = [masks_in(folder) for folder in folders]
    labels, ignore, known = _labels(truth, true, labels, ignore)
    shown = images_in(images) if images else {}
    cases = []
    for case in sorted(true):
        there = []
        for trainer, files in enumerate(found):
            if case in files:
                there.append(PredictionFile(trainer, "", files[case]))
            else:
                problems.append(
                    Problem(names[trainer], "", case, f"no prediction: nothing called {case} in the folder")
                )
        cases.append(CaseFiles(case, true[case], shown.get(case), tuple(there)))
    for trainer, files in enumerate(found):
        for case in sorted(set(files) - set(true)):
            reason = f"{files[case].name}: no truth has this name, not evaluated"
            problems.append(Problem(names[trainer], "", case, reason))
    title = f"{', '.join(names[:3])}{' and others' if len(names) > 3 else ''} on {truth.name}"
    expected = [len(true)] * len(names)
    return Comparison(title, names, labels, ignore, known, cases, problems, expected, folders, truth)


def masks_in(folder: Path) -> dict[str, Path]:
    """{name without ending: file} of the images and volumes in `folder`.

    Raises:
        ValueError: it is not a folder, or two files differ only in their ending.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if ending_of(file) and not file.name.startswith("."):
            if stem_of(file) in found:
                raise ValueError(f"{folder}: got {found[stem_of(file)].name} and {file.name}, wanted one per case")
            found[stem_of(file)] = file
    return found


def images_in(folder: Path) -> dict[str, Path]:
    """{case: image} in `folder`; of nnU-Net's CASE_0000, CASE_0001, ... the first channel."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: not a folder")
    found: dict[str, Path] = {}
    for file in sorted((file for file in folder.iterdir() if ending_of(file)), reverse=True):
        stem = stem_of(file)
        found[stem] = file
        if stem[-5:-4] == "_" and stem[-4:].isdecimal():
            found[stem[:-5]] = file
    return found


def dataset_json_of(truth: Path) -> Path | None:
    """The dataset.json in `truth` or beside it."""
    return next((file for folder in (truth, truth.parent) if (file := folder / "dataset.json").is_file()), None)


def _labels(
    truth: Path, masks: dict[str, Path], labels: Sequence[Label] | None, ignore: int | None
) -> tuple[Sequence[Label], int | None, frozenset[int]]:
    if labels:
        known = frozenset({0}.union(*(label.values for label in labels), () if ignore is None else (ignore,)))
        return labels, ignore, known
    if file := dataset_json_of(truth):
        try:
            return labels_of(json.loads(file.read_text(encoding="utf-8")))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{file}: not a dataset.json of nnU-Net's ({error}); or say --labels NAME=VALUE"
            ) from error
    values: set[int] = set()
    for mask in tqdm(masks.values(), desc="labels    ", unit="case"):
        try:
            values.update(values_of(read_labels(mask, None).values))
        except ValueError:  # named when its turn comes
            continue
    classes = sorted(values - {0, ignore})
    if not classes:
        raise ValueError(f"{truth}: all masks are empty, wanted classes: say --labels NAME=VALUE")
    if len(classes) > 50:
        raise ValueError(f"{truth}: its files hold {len(classes)} values, wanted masks: say --labels NAME=VALUE")
    return [Label(f"label {value}", (value,)) for value in classes], ignore, frozenset(values | {0})


def _short_names(folders: Sequence[Path]) -> list[str]:
    """As much of the end of each path as tells it from the others."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"--pred: got {folders[0]} twice")
