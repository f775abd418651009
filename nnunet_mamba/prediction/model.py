"""Finds a trained model, in a folder or in an exported zip, and the checkpoints to predict with."""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

Folder = Path | zipfile.Path
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth", "checkpoint_latest.pth")  # the first is preferred
WANTED = (
    "wanted a model's folder, such as DAMamba...__nnUNetPlans__2d in nnUNet_results, or a zip by "
    "nnUNetv2_export_model_to_zip"
)


class Model(NamedTuple):
    """A trained model on disk: its folder or zip, the content of two files, and a checkpoint per fold."""

    folder: Folder
    plans: dict[str, Any]
    dataset: dict[str, Any]
    folds: tuple[str, ...]
    checkpoint: str

    def files(self) -> list[Folder]:
        """The checkpoint of each fold."""
        return [self.folder / f"fold_{fold}" / self.checkpoint for fold in self.folds]


def find_model(
    path: str | Path, folds: int | str | Iterable[int | str] | None = None, checkpoint: str | None = None
) -> Model:
    """The model at `path`: its folder, a folder that holds only this model, or a zip.

    Args:
        folds: numbers, or `all`. None: those that have the checkpoint; `all` only without numbered ones.
        checkpoint: a file's name. None: the final checkpoint, or without it the best one, or else the latest.
    Raises:
        OSError: there is no such path.
        ValueError: no model, more than one, or no checkpoint there.
    """
    folder = _only_model(Path(path))
    names = (checkpoint,) if checkpoint else CHECKPOINTS
    asked = None if folds is None else [str(f) for f in ([folds] if isinstance(folds, int | str) else folds)]
    chosen = _choose(folder, asked, names)
    return Model(folder, _read(folder / "plans.json"), _read(folder / "dataset.json"), *chosen)


def _only_model(path: Path) -> Folder:
    top: Folder = path
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder; {WANTED}")
    if path.is_file():
        try:
            top = zipfile.Path(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path}: not a zip, or one that was cut off (copy it again); {WANTED}") from error
    found = list(_models(top))
    if len(found) > 1:
        names = ", ".join(sorted(folder.name for folder in found))
        how = "unzip it, and give" if path.is_file() else "give"
        raise ValueError(f"{path}: got {len(found)} models, {names}; wanted one: {how} its folder")
    if not found:
        raise ValueError(f"{path}: got no plans.json in it; {WANTED}")
    return found[0]


def _models(folder: Folder, depth: int = 2) -> Iterator[Folder]:
    if (folder / "plans.json").is_file():
        yield folder
    elif depth:
        for child in folder.iterdir():
            if child.is_dir():
                yield from _models(child, depth - 1)


def _choose(folder: Folder, asked: list[str] | None, names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The folds to use, and the first of `names` that they have."""
    there = sorted(child.name[5:] for child in folder.iterdir() if re.fullmatch(r"fold_(\d+|all)", child.name))
    for name in names:
        have = [fold for fold in there if (folder / f"fold_{fold}" / name).is_file()]
        if asked is None and have:
            return tuple([fold for fold in have if fold != "all"] or have), name
        if asked and set(asked) <= set(have):
            return tuple(asked), name
    listed = [
        f"fold {f}: {', '.join(n for n in CHECKPOINTS if (folder / f'fold_{f}' / n).is_file()) or 'none'}"
        for f in there
    ]
    raise ValueError(
        f"{folder}: wanted {' or '.join(names)} of fold {' and '.join(asked or ['0, 1, ...'])}; got "
        f"{'; '.join(listed) or 'no fold'}. Train it, or say which folds and checkpoint to use"
    )


def _read(file: Folder) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{file}: cannot be read ({error}); copy the model again") from error
