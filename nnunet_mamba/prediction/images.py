"""Images in all their forms as what nnU-Net's preprocessing takes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK

from nnunet_mamba.dataset_conversion.formats.volumes import check_gzip
from nnunet_mamba.messages import first_line

File = str | Path
Image = np.ndarray | SimpleITK.Image | File | Sequence[File]

OF_PICTURES = {"spacing": (999, 1, 1)}  # nnU-Net's, of images without a size in mm
# by nnU-Net's reader; it reads more than it lists
ENDINGS = {
    "NaturalImage2DIO": (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"),
    "SimpleITKIO": (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl"),
    "SimpleITKIOWithReorient": (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl"),
}


class Case(NamedTuple):
    """An image to predict.

    Attributes:
        channels: (C, Z, Y, X), Z = 1 in a 2-D image.
        properties: nnU-Net's: the spacing (z, y, x), and what its writer needs.
        flat: whether the image is 2-D, so that its labels are (Y, X).
    """

    channels: np.ndarray
    properties: dict[str, Any]
    flat: bool


class ImageReader:
    """Makes a `Case` of an image.

    Args:
        nnunet_reader: the reader with which the model's training images were read.
        channels: the names of the model's channels.
    """

    def __init__(self, nnunet_reader: Any, channels: Sequence[str]):
        self.nnunet_reader = nnunet_reader
        self.channels = tuple(channels)
        self.kind = type(nnunet_reader).__name__
        self.of_pictures = self.kind == "NaturalImage2DIO"
        self.endings: tuple[str, ...] = ENDINGS.get(self.kind, tuple(nnunet_reader.supported_file_endings))

    def ending_of(self, file: Path) -> str:
        """The ending of `file` if it can be read, else ''."""
        return next((ending for ending in self.endings if file.name.lower().endswith(ending)), "")

    def read(self, image: Image, spacing: Sequence[float] | None = None) -> Case:
        """An array, a SimpleITK image, a path, or the paths of a case's channels.

        Raises:
            OSError: there is no such file.
            TypeError: another kind of object.
            ValueError: a file that cannot be read, or another shape or number of channels than the model's.
        """
        if isinstance(image, np.ndarray):
            what, case = "the array", self._of_array(image, spacing)
        elif isinstance(image, SimpleITK.Image):
            what, case = "the SimpleITK image", self._of_simpleitk(image)
        elif isinstance(image, str | Path):
            what, case = str(image), self.read_files([image])
        elif isinstance(image, Sequence) and image and all(isinstance(file, str | Path) for file in image):
            what, case = str(image[0]), self.read_files(image)
        else:
            raise TypeError(
                f"got {type(image).__name__}, wanted an image: a NumPy array, a SimpleITK image, a path, or the list "
                "of the paths of a case's channels"
            )
        if len(case.channels) == 4 and len(self.channels) == 3 and self.of_pictures:
            case = case._replace(channels=case.channels[:3])  # without alpha
        self._check_channels(what, case.channels)
        return case

    def _check_channels(self, what: str, channels: np.ndarray) -> None:
        if len(channels) == len(self.channels):
            return
        advice = "give the image that the model was trained for, or train a model for this one"
        if self.of_pictures and len(self.channels) == 3 and len(channels) == 1:
            advice = "save it as RGB"
        elif self.of_pictures and len(self.channels) == 1 and len(channels) == 3:
            advice = "save it as a grey image"
        elif len(channels) == 1:
            advice = "a case's files are given as a list, or named CASE_0000, CASE_0001, ..."
        raise ValueError(
            f"{what}: got {len(channels)} channel{'s' * (len(channels) > 1)}, wanted {len(self.channels)} "
            f"({', '.join(self.channels)}): {advice}"
        )

    def read_files(self, files: Sequence[File]) -> Case:
        """The case in `files`, each with one or more of its channels."""
        arrays, properties = zip(*(self._read_file(Path(file)) for file in files))
        for file, array, of_file in zip(files, arrays, properties, strict=True):
            same = np.allclose(of_file["spacing"], properties[0]["spacing"])
            if array.shape[1:] != arrays[0].shape[1:] or not same:
                raise ValueError(
                    f"{file}: got the size {array.shape[1:]} (z, y, x) with the spacing {tuple(of_file['spacing'])}, "
                    f"wanted {arrays[0].shape[1:]} with {tuple(properties[0]['spacing'])}, like {files[0]}: resample it"
                )
        geometry = properties[0].get("sitk_stuff", {}).get("spacing", ())
        return Case(np.vstack(arrays), properties[0], self.of_pictures or len(geometry) == 2)

    def check_file(self, file: Path) -> None:
        """Raise what `read` raises of a file that is not there, or of another format."""
        if not file.is_file():
            raise FileNotFoundError(f"{file}: there is no such file")
        if not self.ending_of(file):
            raise ValueError(
                f"{file}: got the format {file.suffix or 'of a file without ending'}, wanted one that the model's "
                f"reader {self.kind} reads: {' '.join(self.endings)}. Convert the file"
            )

    def _read_file(self, file: Path) -> tuple[np.ndarray, dict[str, Any]]:
        self.check_file(file)
        try:
            if not self.of_pictures:
                check_gzip(file)
            return self.nnunet_reader.read_images([str(file)])
        except Exception as error:  # broken files raise OSError, SyntaxError, RuntimeError, AssertionError, ...
            raise ValueError(
                f"{file}: cannot be read ({first_line(error)}); copy or convert this file again"
            ) from error

    def _of_array(self, image: np.ndarray, spacing: Sequence[float] | None) -> Case:
        if not (np.issubdtype(image.dtype, np.number) or image.dtype == bool) or image.size == 0:
            raise ValueError(f"got an array of {image.dtype} with the shape {image.shape}, wanted an image's numbers")
        shape, axes = image.shape, image.ndim
        if axes == 2:
            image = image[None, None]
        elif axes == 3 and self.of_pictures:
            image = image.transpose(2, 0, 1)[:, None]
        elif axes == 3:
            image = image[None]
        elif axes != 4:
            kinds = "(H, W) or (H, W, C)" if self.of_pictures else "(Y, X), (Z, Y, X)"
            raise ValueError(f"got an array of the shape {shape}, wanted {kinds} or (C, Z, Y, X)")
        flat = axes == 2 or (axes == 3 and self.of_pictures)
        if self.of_pictures:
            return Case(image, dict(OF_PICTURES), flat)
        if spacing is None or len(spacing) != (2 if flat else 3):
            raise ValueError(
                f"got an array with spacing={spacing}, wanted spacing=({'y, x' if flat else 'z, y, x'}) in mm: the "
                "model resamples its images"
            )
        return Case(image, _of_spacing(spacing), flat)

    def _of_simpleitk(self, image: SimpleITK.Image) -> Case:
        if "Reorient" in self.kind:
            raise ValueError(f"got a SimpleITK image, wanted a path: the model's reader {self.kind} turns images")
        array = SimpleITK.GetArrayFromImage(image)
        flat = image.GetDimension() == 2
        if image.GetNumberOfComponentsPerPixel() > 1:
            array = np.moveaxis(array, -1, 0)
        elif image.GetDimension() < 4:
            array = array[None]
        if flat:
            array = array[:, None]
        spacing = image.GetSpacing()[::-1][-3:]
        return Case(array, dict(OF_PICTURES) if self.of_pictures else _of_spacing(spacing), flat)


def _of_spacing(spacing: Sequence[float]) -> dict[str, Any]:
    """nnU-Net's properties of a spacing (z, y, x), or (y, x) of one slice."""
    values = [abs(float(value)) for value in spacing]
    return {"spacing": values if len(values) == 3 else [999 * max(values), *values]}
