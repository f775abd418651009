"""One case: reads its files, measures each prediction, and keeps numbers and pictures in a file of their own.

A report that was stopped finds these files again.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nnunet_mamba import __version__
from nnunet_mamba.files import replacing
from nnunet_mamba.messages import first_line
from nnunet_mamba.report import metrics, pictures
from nnunet_mamba.report.comparison import CaseFiles, Label, PredictionFile
from nnunet_mamba.report.reading import Pixels, read_image, read_labels


class Settings(NamedTuple):
    """What is the same for all cases.

    Attributes:
        spacing: of 2-D images, (y, x) in mm; None: as the files say.
        in_mm: whether distances are in mm; else in pixels.
        tolerance: of NSD, in that unit.
        distances, soft: whether these are measured.
        side: longest side of a picture in pixels.
    """

    labels: tuple[Label, ...]
    ignore: int | None
    known: frozenset[int]
    spacing: tuple[float, float] | None
    in_mm: bool
    tolerance: float
    distances: bool
    soft: bool
    side: int

    @property
    def numbers(self) -> dict[int, int]:
        """Label -> the byte that stands for it in a picture's label map; the ignore label is 255."""
        values = sorted({value for label in self.labels for value in label.values} - {self.ignore})
        coded = {value: number for number, value in enumerate(values[:253], start=1)}
        return coded | ({} if self.ignore is None else {self.ignore: 255})


class Job(NamedTuple):
    """A case to measure, and the folder for what is kept of it."""

    settings: Settings
    case: CaseFiles
    folder: Path

    def kept(self) -> Path:
        """The file of this case: another one whenever a file of the case or a setting is another."""
        files = [self.case.truth, self.case.image, *(prediction.file for prediction in self.case.predictions)]
        stamps = [(str(file), *_stamp(file)) for file in files if file is not None]
        settings = self.settings._replace(known=frozenset())._asdict() | {"known": sorted(self.settings.known)}
        text = json.dumps([__version__, settings, self.case.id, stamps, self.case.predictions], default=str)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"


def _stamp(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def measure(job: Job) -> Path:
    """Measure a case, unless that was done before; returns its file. Bad files become problems in it."""
    file = job.kept()
    if not file.exists():
        result = _measure(job.settings, job.case)
        with replacing(file) as unfinished:
            unfinished.write_text(json.dumps(result), encoding="utf-8")
    return file


def _measure(settings: Settings, case: CaseFiles) -> dict[str, Any]:
    """{"rows": numbers per prediction, "slices": pictures that rows point to, "problems": reasons per prediction}."""
    result: dict[str, Any] = {"id": case.id, "rows": [], "slices": [], "problems": []}
    try:
        truth = read_labels(case.truth, settings.known)
    except ValueError as error:
        reason = f"the truth: {error}"
        result["problems"] = [[file.trainer, file.fold, reason] for file in case.predictions]
        return result
    image, doubt = _image_of(case, truth)
    if doubt:
        result["problems"].append([None, "", doubt])
    shown = _Slices(settings, truth, image)
    for prediction in case.predictions:
        try:
            result["rows"].append(_row(settings, truth, prediction, shown))
        except (ValueError, OSError, MemoryError) as error:
            result["problems"].append([prediction.trainer, prediction.fold, first_line(error)])
    result["slices"] = shown.made
    return result


def _image_of(case: CaseFiles, truth: Pixels) -> tuple[Pixels | None, str]:
    """The image, and why it is not shown."""
    if case.image is None:
        return None, ""
    try:
        image = read_image(case.image)
    except ValueError as error:
        return None, f"the image: {error}; shown without it"
    if image.values.shape[:3] != truth.values.shape:
        return None, f"the image has the size {_size(image.values)}, the truth {_size(truth.values)}: shown without it"
    return image, ""


def _row(settings: Settings, truth: Pixels, file: PredictionFile, shown: "_Slices") -> dict[str, Any]:
    prediction = read_labels(file.file, settings.known)
    if prediction.values.shape != truth.values.shape:
        raise ValueError(
            f"{file.file.name}: has the size {_size(prediction.values)}, the truth {_size(truth.values)}; "
            "wanted the same"
        )
    ignored = None if settings.ignore is None else truth.values == settings.ignore
    probabilities = _Probabilities(settings, file.file, truth) if settings.soft else None
    flat = truth.values.shape[0] == 1
    spacing = spacing_of(settings, truth)
    numbers, empty = [], []
    for index, label in enumerate(settings.labels):
        of_truth, of_prediction = (np.isin(pixels.values, label.values) for pixels in (truth, prediction))
        measured, is_empty = metrics.overlap(of_truth, of_prediction, ignored)
        if settings.distances:
            kept = 0 if flat else slice(None)  # of a 2-D image its one plane
            measured |= metrics.distances(
                of_truth[kept],
                of_prediction[kept],
                None if ignored is None else ignored[kept],
                spacing[1:] if flat else spacing,
                settings.tolerance,
            )
        if probabilities is not None:
            measured["soft_dice"] = metrics.soft_dice(probabilities.of(index, label), of_truth, ignored)
        numbers.append({key: None if math.isnan(value) else value for key, value in measured.items()})
        empty.append([is_empty.truth, is_empty.prediction])
    index, mask = shown.of(prediction.values, ignored)
    return {
        "trainer": file.trainer,
        "fold": file.fold,
        "numbers": numbers,
        "empty": empty,
        "slice": index,
        "mask": mask,
    }


def spacing_of(settings: Settings, truth: Pixels) -> tuple[float, float, float]:
    """(z, y, x) in mm, or 1 per pixel."""
    if settings.spacing is not None:
        return 1.0, *settings.spacing
    return truth.spacing if settings.in_mm and truth.spacing is not None else (1.0, 1.0, 1.0)


class _Slices:
    """The slices of a case that are shown; predictions of the same slice share one."""

    def __init__(self, settings: Settings, truth: Pixels, image: Pixels | None):
        self.settings, self.truth, self.image = settings, truth.values, image
        self.spacing = truth.spacing or (1.0, 1.0, 1.0)
        if settings.spacing is not None:
            self.spacing = 1.0, *settings.spacing
        self.axis = 0 if len(self.truth) == 1 else pictures.slicing_axis(self.spacing)
        self.made: list[dict[str, Any]] = []

    def of(self, prediction: np.ndarray, ignored: np.ndarray | None) -> tuple[int, str]:
        """Index of the slice to show of `prediction`, and its packed labels."""
        position = pictures.worst_slice(self.truth, prediction, ignored, self.axis)
        in_plane = [space for axis, space in enumerate(self.spacing) if axis != self.axis]
        cut = self.truth.take(position, axis=self.axis)
        size = pictures.picture_size(cut.shape, in_plane, self.settings.side)
        mask = pictures.packed(prediction.take(position, axis=self.axis), self.settings.numbers, size)
        for index, made in enumerate(self.made):
            if made["position"] == position:
                return index, mask
        image = None if self.image is None else self.image.values.take(position, axis=self.axis)
        self.made.append(
            {
                "position": position,
                "of": self.truth.shape[self.axis],
                "size": size,
                "image": pictures.jpeg(image, size),
                "truth": pictures.packed(cut, self.settings.numbers, size),
            }
        )
        return len(self.made) - 1, mask


class _Probabilities:
    """The probabilities that nnU-Net saved beside a prediction, (channels, Z, Y, X)."""

    def __init__(self, settings: Settings, prediction: Path, truth: Pixels):
        from nnunet_mamba.report.reading import stem_of

        file = prediction.with_name(f"{stem_of(prediction)}.npz")
        if not file.exists():
            raise ValueError(f"{file.name}: not there, wanted for --soft-dice; predict with --save_probabilities")
        try:
            with np.load(file) as archive:
                self.values = archive["probabilities"]
        except Exception as error:
            raise ValueError(f"{file.name}: cannot be read ({first_line(error)})") from error
        regions = any(len(label.values) > 1 for label in settings.labels)
        highest = max(settings.known - {settings.ignore}) if settings.ignore is not None else max(settings.known)
        wanted = len(settings.labels) if regions else highest + 1
        self.regions = regions
        if self.values.shape != (wanted, *truth.values.shape):
            raise ValueError(
                f"{file.name}: has the shape {self.values.shape}, wanted {(wanted, *truth.values.shape)}: "
                f"a channel per {'region' if regions else 'label with background'}"
            )

    def of(self, index: int, label: Label) -> np.ndarray:
        return self.values[index] if self.regions else self.values[label.values[0]]


def _size(values: np.ndarray) -> str:
    shape = values.shape[1:3] if values.shape[0] == 1 else values.shape[:3]
    return " x ".join(map(str, shape))
