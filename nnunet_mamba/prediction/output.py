"""Predicts many cases into a folder: labels, masks that one can see, and overlays."""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from tqdm import tqdm

from nnunet_mamba.files import replacing
from nnunet_mamba.prediction.images import Case
from nnunet_mamba.prediction.pictures import outlined, visible
from nnunet_mamba.prediction.predictor import Predictor

MASKS, OVERLAYS = "masks", "overlays"
Existing = Literal["refuse", "keep", "replace"]


def predict_files(
    predictor: Predictor,
    cases: Mapping[str, Sequence[Path]],
    output: Path,
    overlays: bool = False,
    existing: Existing = "refuse",
) -> tuple[int, list[str]]:
    """Write the labels of `cases` into the folder `output`; returns how many, and what was wrong with the others.

    A case's labels have its name, and the format of the model's training labels. Those of a 2-D image are also written
    in visible colours to masks/. With `overlays` each case is drawn to overlays/. The labels come last, and each file
    whole: an interrupted run leaves no half of one.

    Args:
        existing: what to do if the labels of a case are there.
    Raises:
        OSError: `output` cannot be written.
        ValueError: labels would replace an image, or others without leave.
    """
    files = {name: output / f"{name}{predictor.dataset['file_ending']}" for name in cases}
    images = {file.resolve() for of_case in cases.values() for file in of_case}
    for name, file in files.items():
        for target in (file, output / MASKS / f"{name}.png", output / OVERLAYS / f"{name}.png"):
            if target.resolve() in images:
                raise ValueError(f"-o {output}: {target.name} would replace an image; choose another folder")
    there = [file for file in files.values() if file.exists()]
    if there and existing == "refuse":
        raise ValueError(
            f"-o {output}: {there[0].name} is there, and {len(there) - 1} more of {len(files)}: --overwrite replaces "
            "them, --continue predicts what is missing; or choose another folder"
        )
    todo = [name for name in files if existing != "keep" or not files[name].exists()]
    problems = []
    with _writable(output) as unfinished:
        for name, content in (("dataset.json", predictor.dataset), ("plans.json", predictor.plans)):
            if not (output / name).exists():  # nnU-Net's commands, such as its postprocessing, look for them
                with replacing(output / name) as new:
                    new.write_text(json.dumps(content, indent=4), encoding="utf-8")
        for name in _with_progress(todo, bar=predictor.reader.of_pictures):
            try:
                case = predictor.reader.read(cases[name])
            except (OSError, ValueError) as error:
                problems.append(str(error))
                continue
            _write(predictor, case, unfinished, files[name], name, overlays)
    return len(todo) - len(problems), problems


def _write(predictor: Predictor, case: Case, unfinished: Path, file: Path, name: str, overlays: bool) -> None:
    labels, _ = predictor.predict(case)
    pictures = {MASKS: visible(labels[0])} if len(labels) == 1 else {}
    if overlays:
        pictures[OVERLAYS] = outlined(case, labels)
    for folder, picture in pictures.items():
        (file.parent / folder).mkdir(exist_ok=True)
        Image.fromarray(picture).save(unfinished / f"{name}.png")
        (unfinished / f"{name}.png").replace(file.parent / folder / f"{name}.png")
    # nnU-Net's writers tell the format by the ending, and some write a second file
    predictor.reader.nnunet_reader.write_seg(labels, str(unfinished / file.name), case.properties)
    for written in sorted(unfinished.iterdir(), key=lambda path: path.name == file.name):
        written.replace(file.parent / written.name)


def _with_progress(names: Sequence[str], bar: bool) -> Iterator[str]:
    """The names, with a bar, or with a line for each, below which nnU-Net shows the bar of its tiles."""
    if bar:
        yield from tqdm(names, desc="predicting", unit="image")
        return
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}", flush=True)
        yield name


@contextmanager
def _writable(output: Path) -> Iterator[Path]:
    """A hidden folder in `output` for unfinished files; both are made.

    Raises:
        OSError: they cannot be made.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        hidden = tempfile.TemporaryDirectory(dir=output, prefix=".unfinished-")
    except OSError as error:
        raise OSError(
            f"-o {output}: cannot be written ({error.strerror}); wanted a folder that may be made and written: choose "
            "another, change its rights, or free some space"
        ) from error
    with hidden as folder:
        yield Path(folder)
