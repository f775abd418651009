"""What the folders of images mean: with enough of them, each is a patient; otherwise only the user knows."""

from collections.abc import Sequence
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import Undecided
from nnunet_mamba.dataset_conversion.formats.pairs import Found

FEW_FOLDERS = 5  # fewer may be classes or parts of the data set, and cannot fill five folds


def name_groups(folder: Path, images: Sequence[Found]) -> str:
    """What the folders of the images are taken for.

    Raises:
        Undecided: folders that may not be patients.
    """
    depths = {len(image.folders): image for image in reversed(images)}
    if depths.keys() == {0}:
        return "each image"
    first = sorted({image.folders[0] for image in images if image.folders})
    named = ", ".join(first[:FEW_FOLDERS]) + (", ..." if len(first) > FEW_FOLDERS else "")
    if depths.keys() == {1} and len(first) >= FEW_FOLDERS:
        return f"{len(first)} folders ({named})"
    if len(depths) > 1:
        found = "images lie at different depths, such as " + " and ".join(sorted(i.name for i in depths.values()))
    else:
        found = f"the images lie in {len(first)} folders ({named})" + (
            " with folders in them" if max(depths) > 1 else ""
        )
    raise Undecided(
        f"{folder}: {found}. If these are patients, folds must not split them; they may also be classes or parts",
        [
            ("the first folder is the patient", {"group_regex": "^[^/]+"}),
            *((("the second folder is the patient", {"group_regex": "^[^/]+/([^/]+)"}),) if min(depths) > 1 else ()),
            ("folds may split the folders", {"group_regex": ".+"}),
        ],
    )
