"""Finds what to compare in nnU-Net's folders: the validation of each fold of trainers, on one data set."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.nnunet_folders import PREPROCESSED, RAW, RESULTS, nnunet_folder
from nnunet_mamba.report.comparison import CaseFiles, Comparison, PredictionFile, Problem, labels_of
from nnunet_mamba.report.folders import images_in, masks_in


def compare_trained(
    dataset: str, trainers: Sequence[str], plans: str = "nnUNetPlans", configuration: str = "2d"
) -> Comparison:
    """The validation predictions of all folds of `trainers`.

    Args:
        dataset: number or name.
        trainers: names, or TRAINER__PLANS__CONFIGURATION for one with other plans.
    Raises:
        ValueError: a folder is missing; says which.
    """
    results = _dataset_folder(nnunet_folder(RESULTS), dataset)
    raw, preprocessed = (nnunet_folder(variable) / results.name for variable in (RAW, PREPROCESSED))
    models = [results / (name if "__" in name else f"{name}__{plans}__{configuration}") for name in trainers]
    for model in models:
        if not any(model.glob("fold_*/validation")):
            there = sorted(folder.name for folder in results.iterdir() if any(folder.glob("fold_*/validation")))
            raise ValueError(
                f"{model}: no fold_*/validation there, wanted a finished training; "
                f"there are: {', '.join(there) or 'none'}"
            )
    names = [name.partition("__")[0] for name in trainers]
    names = names if len(set(names)) == len(names) else list(trainers)
    if len(set(names)) < len(names):
        raise ValueError(f"-tr: got {' '.join(trainers)}, wanted each trainer once")
    truth = next((folder for folder in (raw / "labelsTr", preprocessed / "gt_segmentations") if folder.is_dir()), None)
    if truth is None:
        raise ValueError(f"no truth: neither {raw / 'labelsTr'} nor {preprocessed / 'gt_segmentations'} is a folder")
    true = masks_in(truth)
    splits = _read(preprocessed / "splits_final.json") or _read(raw / "splits_final.json") or []
    found: dict[str, list[PredictionFile]] = {case: [] for case in true}
    problems, expected = [], []
    for index, (name, model) in enumerate(zip(names, models, strict=True)):
        wanted = 0
        for folder in sorted(model.glob("fold_*/validation")):
            fold = folder.parent.name.removeprefix("fold_")
            files = masks_in(folder)
            of_fold = splits[int(fold)]["val"] if fold.isdecimal() and int(fold) < len(splits) else sorted(files)
            wanted += len(of_fold)
            for case in of_fold:
                if case not in true:
                    problems.append(Problem(name, fold, case, f"no truth: nothing called {case} in {truth.name}"))
                elif case in files:
                    found[case].append(PredictionFile(index, fold, files[case]))
                else:
                    problems.append(Problem(name, fold, case, "no prediction in the fold's validation folder"))
            others = sorted(set(files) - set(of_fold))
            reason = "not a validation case of this fold, not evaluated"
            problems += [Problem(name, fold, case, f"{files[case].name}: {reason}") for case in others]
        expected.append(wanted)
    labels, ignore, known = labels_of(json.loads((models[0] / "dataset.json").read_text(encoding="utf-8")))
    images = images_in(raw / "imagesTr") if (raw / "imagesTr").is_dir() else {}
    cases = [
        CaseFiles(case, true[case], images.get(case), tuple(files)) for case, files in sorted(found.items()) if files
    ]
    conversion = _read(raw / "conversion_report.json") or {}
    groups = {entry["case"]: entry["group"] for entry in conversion.get("written", ()) if "group" in entry}
    return Comparison(
        f"{', '.join(names)} on {results.name}",
        names,
        labels,
        ignore,
        known,
        cases,
        problems,
        expected,
        models,
        truth,
        groups,
        [split["val"] for split in splits],
        conversion,
    )


def _dataset_folder(results: Path, dataset: str) -> Path:
    """The folder of a data set, by its name or number."""
    wanted = rf"Dataset0*{int(dataset)}_.+" if dataset.isdecimal() else re.escape(dataset)
    found = [folder for folder in sorted(results.glob("Dataset*")) if re.fullmatch(wanted, folder.name)]
    if len(found) != 1:
        raise ValueError(
            f"-d {dataset}: got {len(found)} such folders in {results}, wanted one with finished trainings"
        )
    return found[0]


def _read(file: Path):
    """The content of a JSON file; None where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
