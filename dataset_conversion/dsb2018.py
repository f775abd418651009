"""DSB2018: nuclei in 670 microscopic images, 2018 Data Science Bowl, stage 1 (Caicedo et al., Nature Methods 2019).

    nnunet_mamba convert DSB2018 -i data-science-bowl-2018 -d 502
    nnunet_mamba convert DSB2018 -i stage1_train.zip -d 502 --border

Reads the original release (670 images, doi:10.1038/s41592-019-0612-7, BBBC038) and the corrected one with 664 images,
from a folder that holds these (up to four levels down), from `stage1_train` itself, from a zip of any of them, or from
Kaggle's zip of zips, or the folder that holds these zips:

    stage1_train/<id>/images/<id>.png      RGB or RGBA, grey or coloured
                      masks/*.png          one file per nucleus
    stage1_test/<id>/images/<id>.png       optional: imagesTs
    stage1_solution.csv                    optional, with stage1_test: labelsTs; run lengths, 1-based, down the columns

The label is the union of an image's nuclei, so nuclei that touch merge. `--border` gives the pixels between them a
class of their own. Pixels that two masks share (a few in the corrected release) are nucleus, or border with `--border`.

Channels are R, G, B, normalised per image (z-score): the brightness of a fluorescence image tells how long it was
exposed. Each image is a group of its own. Folds are stratified by modality (grey or coloured, dark or bright
background) and size.

The papers resample to 256x256. They do not say which images they hold out, so `--protocol paper` leaves the folds as
they are.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, PaperProtocol
from nnunet_mamba.dataset_conversion.formats.folders import (
    find_roots,
    list_files,
    only_root,
    pair_up,
    subfolders,
    wrong_layout,
)
from nnunet_mamba.dataset_conversion.formats.images import read_binary_mask, read_rgb
from nnunet_mamba.dataset_conversion.formats.instances import join_nuclei
from nnunet_mamba.dataset_conversion.formats.run_lengths import decode, read_table

SOLUTION = "stage1_solution.csv"
LAYOUT = "stage1_train/<id>/{images/<id>.png, masks/*.png}"
GREY_TOLERANCE = 2  # mean difference between a pixel's channels: above 10 in coloured images, 0 in grey ones


def find_cases(folder: Path) -> tuple[list[Case], list[BadCase]]:
    """The cases of stage1_train and, if it is there, stage1_test, and those that lack an image or masks.

    Raises:
        ValueError: `folder` does not hold the official tree, or holds two of them, or the table has other columns.
    """
    roots = find_roots(folder, _holds_cases)
    if not roots:
        raise wrong_layout(folder, "DSB2018", LAYOUT)
    training, tests = ([root for root in roots if ("test" in root.name.lower()) == test] for test in (False, True))
    if not training:
        raise ValueError(f"{folder}: holds {tests[0].name} only; expected {LAYOUT} as well")
    cases, bad = _training_cases(only_root(training, folder, "DSB2018", LAYOUT))
    around = {folder, *(root.parent for root in roots if root != folder)}
    table = min((path for place in around for path in place.glob(SOLUTION)), default=None)
    if tests:
        test_cases, more = _test_cases(only_root(tests, folder, "DSB2018", LAYOUT), table)
        return cases + test_cases, bad + more
    if table:
        bad.append(BadCase(table.stem, f"{table}: run lengths of stage1_test, which is not beside it", expected=True))
    return cases, bad


def read_case(case: Case, border: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8: 1 nucleus, with `border` 2 between nuclei that touch."""
    image = read_rgb(case.image)
    if case.mask is None:
        return image, None
    return image, join_nuclei(_nuclei(case, case.mask, image.shape[:2]), image.shape[:2], border)


def with_border(dataset: Dataset, border: bool) -> Dataset:
    """The data set with or without the class between touching nuclei."""
    if not border:
        return dataset
    return replace(dataset, labels={**dataset.labels, "border": 2}, read_case=partial(read_case, border=True))


def _nuclei(case: Case, mask: Path, size: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The mask (H, W) of each nucleus, from the rows of the table or from a folder of masks."""
    if case.extra:
        yield from (decode(mask, size, *row) for row in case.extra)
        return
    for path in _png_files(mask):
        nucleus = read_binary_mask(path)
        if nucleus.shape != size:
            got, wanted = (f"{height}x{width}" for height, width in (nucleus.shape, size))
            raise ValueError(f"{path}: the mask has {got} pixels (H x W), its image {case.image.name} {wanted}")
        yield nucleus


def _training_cases(root: Path) -> tuple[list[Case], list[BadCase]]:
    images, masks, empty = {}, {}, []
    for place in subfolders(root):
        image_files, mask_files = _png_files(place / "images"), _png_files(place / "masks")
        if image_files:
            images[place.name] = image_files
        if mask_files:
            masks[place.name] = [place / "masks"]
        if not image_files and not mask_files:
            empty.append(BadCase(place.name, f"{place}: holds neither an image nor masks (.png)"))
    pairs, bad = pair_up(images, masks)
    shown = tqdm(pairs.items(), desc=f"{'finding':<10}", unit="case")
    return [Case(id, id, image, mask, _stratum(image)) for id, (image, mask) in shown], empty + bad


def _test_cases(root: Path, table: Path | None) -> tuple[list[Case], list[BadCase]]:
    """Without the table, images only. With it, each image has its run lengths and their line numbers."""
    rows = read_table(table) if table else {}
    places = {place.name: place for place in subfolders(root)}
    cases = []
    bad = [BadCase(id, f"{table}: rows for {id}, which has no folder in {root}") for id in rows if id not in places]
    for id, place in places.items():
        images = _png_files(place / "images")
        if len(images) != 1:
            bad.append(BadCase(id, f"{place / 'images'}: holds {len(images)} images (.png); expected one"))
        elif table and id not in rows:
            bad.append(BadCase(id, f"{table}: no row for {images[0]}"))
        else:
            runs = tuple(rows.get(id, ()))
            cases.append(Case(id, id, images[0], table, _stratum(images[0]), test=True, extra=runs))
    return cases, bad


def _stratum(path: Path) -> str:
    """Modality and size. A broken image has none; the verification names it."""
    try:
        image = read_rgb(path)
    except ValueError:
        return "unreadable"
    values = image[::4, ::4].astype(np.int16)  # enough to tell, and fast
    coloured = np.mean(values.max(axis=2) - values.min(axis=2)) > GREY_TOLERANCE
    ground = "bright" if np.median(values) > 127 else "dark"
    return f"{'coloured' if coloured else 'grey'} {ground} {image.shape[0]}x{image.shape[1]}"


def _holds_cases(folder: Path) -> bool:
    """By an image of its case's name: many other data sets are a folder with `images` and `masks`."""
    return any((case / "images" / f"{case.name}.png").is_file() for case in subfolders(folder))


def _png_files(folder: Path) -> list[Path]:
    return list_files(folder, (".png",)) if folder.is_dir() else []


DSB2018 = Dataset(
    name="DSB2018",
    what="nuclei, stage 1, original or corrected; `stage1_test` becomes imagesTs",
    segments="nucleus",
    never_split="image; balanced over modality and size",
    labels={"background": 0, "nucleus": 1},
    description="Nuclei in fluorescence, brightfield and histology images, stage 1 of the 2018 Data Science Bowl",
    reference="Caicedo et al., Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl, "
    "Nature Methods 16 (2019), doi:10.1038/s41592-019-0612-7, https://bbbc.broadinstitute.org/BBBC038",
    licence="CC0 1.0",
    release="stage 1, 2018",
    find_cases=find_cases,
    read_case=read_case,
    paper=PaperProtocol(size=(256, 256)),
    inner_zips=("stage1_train.zip", "stage1_test.zip", "stage1_solution.csv.zip"),
    options=(Option("--border", "add a class between nuclei that touch", default=False),),
    with_options=with_border,
)
