"""The one kind that all images of a data set have: channels, and the type that holds all their values."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.dataset_conversion.formats.folders import NIFTI_ENDINGS
from nnunet_mamba.dataset_conversion.formats.pairs import Found
from nnunet_mamba.dataset_conversion.formats.pixels import COLOUR, Kind, read_pixels
from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers

DEPTHS = ("uint8", "uint16", "float32")
NIFTI = Kind(("grey",), "NIfTI")


def common_kind(folder: Path, images: Sequence[Found], workers: Workers) -> Kind:
    """The kind of all images, of the widest type among them. A broken file does not count.

    Raises:
        ValueError: images of different channels; both are named.
    """
    kinds = workers.run(_kind_of, [image.path for image in images], "images")
    examples = {str(kind): image.name for kind, image in zip(kinds, images) if kind}
    counts = Counter(str(kind) for kind in kinds if kind)
    if len(counts) > 1:
        found = " and ".join(f"{count} {name} (such as {examples[name]})" for name, count in counts.most_common())
        raise ValueError(
            f"{folder}: {found} images in one data set, but nnU-Net needs the same channels in all; save them alike, "
            "or move one kind to another folder"
        )
    known = [kind for kind in kinds if kind] or [Kind(COLOUR, "uint8")]
    return max(known, key=lambda kind: DEPTHS.index(kind.dtype) if kind != NIFTI else 0)


def _kind_of(path: Path) -> Kind | None:
    if path.name.lower().endswith(NIFTI_ENDINGS):
        return NIFTI
    try:
        return read_pixels(path)[1]
    except ValueError:
        return None
