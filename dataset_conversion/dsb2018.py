"""DSB2018: nuclei in 670 microscopic images, stage 1 of the 2018 Data Science Bowl (Caicedo et al., Nature Methods 2019).

    nnunet_mamba convert DSB2018 -i data-science-bowl-2018 -d 502
    python -m nnunet_mamba.dataset_conversion.dsb2018 -i stage1_train.zip -d 502 --border

Reads the original release (670 images, doi:10.1038/s41592-019-0612-7, BBBC038) and the corrected one of 664, from a folder that
holds these (to three levels down), from `stage1_train` itself, or from a zip of any of them:

    stage1_train/<id>/images/<id>.png      RGB or RGBA, grey or coloured
                      masks/*.png          one file a nucleus
    stage1_test/<id>/images/<id>.png       if there: imagesTs
    stage1_solution.csv                    if there too: labelsTs; run lengths, 1-based, down the columns

The label is the union of an image's nuclei, in which those that touch merge; `--border` gives the pixels between them a class of
their own. Pixels that two masks share (a few in the corrected release) are nucleus, with `--border` border.

Channels are R, G, B, normalised image by image (z-score): the brightness of a fluorescence image says how long it was exposed.
Every image is a case and a group of its own; folds are stratified by modality (grey or coloured, dark or bright ground) and size.

The papers resample to 256x256. Which images they hold out is not known here, so `--protocol paper` leaves the folds as they are.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np

from nnunet_mamba.dataset_conversion.cases import BadCase, Case
from nnunet_mamba.dataset_conversion.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.instances import join_nuclei
from nnunet_mamba.dataset_conversion.pipeline import convert_dataset
from nnunet_mamba.dataset_conversion.recipe import PaperProtocol, Recipe
from nnunet_mamba.dataset_conversion.run_lengths import decode, read_table
from nnunet_mamba.dataset_conversion.tree import name_found, subfolders

SEARCH_DEPTH = 3
SOLUTION = "stage1_solution.csv"
LAYOUT = "stage1_train/<id>/{images/<id>.png, masks/*.png}"
GREY_TOLERANCE = 2  # mean difference of a pixel's channels; coloured images are above 10, grey ones at 0


def convert(
    source: str | Path,
    dataset_id: int,
    size: tuple[int, int] | None = None,
    test: int = 0,
    seed: int = 0,
    protocol: str | None = None,
    processes: int = 1,
    skip_bad: bool = False,
    border: bool = False,
) -> Path:
    """Convert DSB2018 into `nnUNet_raw/DatasetXXX_DSB2018` and return that folder.

    Args:
        border: add a class between touching nuclei. The other arguments are those of `ph2.convert`; "paper" resamples to 256x256.
    Raises:
        ValueError: an option, the source or a case is wrong; the message names the file. Nothing was written.
        OSError: reading or writing failed, a full disk for instance. Nothing half-written is left.
    """
    own = {"border": border}
    return convert_dataset(
        make_recipe(border), source, dataset_id, size, test, seed, protocol, processes, skip_bad, own
    )


def add_arguments(parser: argparse._ArgumentGroup) -> None:
    """This data set's own options."""
    parser.add_argument("--border", action="store_true", help="add a class between nuclei that touch")


def options(args: argparse.Namespace) -> dict[str, bool]:
    """For `convert`."""
    return {"border": args.border}


def make_recipe(border: bool) -> Recipe:
    """The data set with or without the class between touching nuclei."""
    return Recipe(
        name="DSB2018",
        channel_names=("R", "G", "B"),
        labels={"background": 0, "nucleus": 1, **({"border": 2} if border else {})},
        description="Nuclei in fluorescence, brightfield and histology images, stage 1 of the 2018 Data Science Bowl",
        reference="Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, Nature Methods "
        "16 (2019), doi:10.1038/s41592-019-0612-7, https://bbbc.broadinstitute.org/BBBC038",
        licence="CC0 1.0",
        release="stage 1, 2018",
        paper=PaperProtocol(size=(256, 256)),
        find_cases=find_cases,
        read_case=partial(read_case, border),
    )


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases of stage1_train and, where it is, stage1_test, and those that lack an image or masks.

    Raises:
        ValueError: `folder` does not hold the official tree, or two of them, or the table's columns are not the official ones.
    """
    roots = _find_roots(folder)
    training, tests = ([root for root in roots if ("test" in root.name.lower()) == test] for test in (False, True))
    if not training:
        raise ValueError(f"{folder}: holds {tests[0].name} only; expected {LAYOUT} as well")
    for found in (training, tests):
        if len(found) > 1:
            raise ValueError(
                f"{folder}: holds {len(found)} trees ({', '.join(map(str, found))}); give one of them to -i"
            )
    cases, bad = _training_cases(training[0])
    tables = [
        path for base in {folder, *(root.parent for root in roots if root != folder)} for path in base.glob(SOLUTION)
    ]
    table = sorted(tables)[0] if tables else None
    if tests:
        for found, more in zip((cases, bad), _test_cases(tests[0], table), strict=True):
            found += more
    elif table:
        bad.append(BadCase(table.stem, f"{table}: run lengths of stage1_test, which is not beside it", expected=True))
    return cases, bad


def read_case(border: bool, case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8, 0 ground, 1 nucleus, with `border` 2 between touching nuclei."""
    image = read_rgb(case.image)
    if case.mask is None:
        return image, None
    if case.extra:
        nuclei = (decode(case.mask, *row, image.shape[:2]) for row in case.extra)
    else:
        nuclei = (_read_nucleus(path, case, image.shape[:2]) for path in _png_files(case.mask))
    return image, join_nuclei(nuclei, image.shape[:2], border)


def _read_nucleus(path: Path, case: Case, size: tuple[int, int]) -> np.ndarray:
    mask = read_binary_mask(path)
    if mask.shape != size:
        got, wanted = (f"{height}x{width}" for height, width in (mask.shape, size))
        raise ValueError(f"{path}: the mask has {got} pixels (H x W), its image {case.image.name} {wanted}")
    return mask


def _training_cases(root: Path) -> tuple[list[Case], list[BadCase]]:
    cases, bad = [], []
    for place in subfolders(root):
        images, masks = _png_files(place / "images"), _png_files(place / "masks")
        if len(images) != 1:
            bad.append(BadCase(place.name, f"{place / 'images'}: holds {len(images)} images (.png); expected one"))
        elif not masks:
            bad.append(BadCase(place.name, f"{place / 'masks'}: no masks (.png) of the image {images[0].name}"))
        else:
            cases.append(Case(place.name, place.name, images[0], place / "masks", _stratum(images[0])))
    return cases, bad


def _test_cases(root: Path, table: Path | None) -> tuple[list[Case], list[BadCase]]:
    """With the table, every image of it with its run lengths and line numbers; without, images alone."""
    rows = read_table(table) if table else {}
    cases, bad = [], []
    for place in subfolders(root):
        images = _png_files(place / "images")
        if len(images) != 1:
            bad.append(BadCase(place.name, f"{place / 'images'}: holds {len(images)} images (.png); expected one"))
        elif table and place.name not in rows:
            bad.append(BadCase(place.name, f"{table}: no row for {images[0]}"))
        else:
            own_rows = tuple(rows.get(place.name, ()))
            cases.append(Case(place.name, place.name, images[0], table, _stratum(images[0]), test=True, extra=own_rows))
    there = {place.name for place in subfolders(root)}
    bad += [BadCase(id, f"{table}: rows for {id}, which has no folder in {root}") for id in rows if id not in there]
    return cases, bad


def _stratum(path: Path) -> str:
    """Modality and size; a broken image has none, and is named when it is verified."""
    try:
        image = read_rgb(path)
    except ValueError:
        return "unreadable"
    values = image[::4, ::4].astype(np.int16)  # enough to tell, and quick
    coloured = np.mean(values.max(axis=2) - values.min(axis=2)) > GREY_TOLERANCE
    ground = "bright" if np.median(values) > 127 else "dark"
    return f"{'coloured' if coloured else 'grey'} {ground} {image.shape[0]}x{image.shape[1]}"


def _find_roots(folder: Path) -> list[Path]:
    """The folders whose sub-folders are cases, from the first level that has any."""
    level = [folder]
    for _ in range(SEARCH_DEPTH + 1):
        roots = [path for path in level if _holds_cases(path)]
        if roots:
            return roots
        level = [inner for path in level for inner in subfolders(path)]
    zips = sorted(path.name for path in folder.rglob("stage1_*.zip"))
    hint = f"; unpack {', '.join(zips)} first, each into a folder of its name" if zips else ""
    raise ValueError(f"{folder}: not the layout of DSB2018; expected {LAYOUT}, found {name_found(folder)}{hint}")


def _holds_cases(folder: Path) -> bool:
    return any((case / name).is_dir() for case in subfolders(folder) for name in ("images", "masks"))


def _png_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() == ".png" and not path.name.startswith("."))


if __name__ == "__main__":
    from nnunet_mamba.dataset_conversion.command import main

    sys.exit(main("DSB2018"))
