"""Any images with masks, 2-D or NIfTI volumes, such as UWF-RHS.

    nnunet_mamba convert generic -i images --masks masks -d 510 --name UWF-RHS --labels 0=background,1=haemorrhage
    nnunet_mamba convert generic -i images.zip --masks masks.zip -d 510
    nnunet_mamba convert generic -i patients -d 510

How files must be named: a mask has the name of its image, or that name with an ending such as `_mask`, `_label` or
`_gt`; an image's own ending `_image`, `_img` or `_0000` does not count. The two lie in two folders or zips. If they lie
in one, leave out `--masks`: masks are told by their ending, or by the name of their folder, such as `masks`.
`formats/pairs.py` draws the trees. In Python the folders are the source:
`convert("generic", ("images", "masks"), 510, name="UWF-RHS")`.

With a folder per patient, folds never split a patient. `--group-regex` finds the group elsewhere in a file's name,
which begins with its folders (`P01/a`): its first group, or the whole match. Otherwise each image is its own group.

Masks are 1-bit, 8-bit, 16-bit, palettes (by index), whole numbers as float, NIfTI, or colours. What the values mean is
never guessed. Two cases are certain: 0 and one other value (black and one colour), and black and white with soft edges
(JPEG, resampled), where more than 127 is foreground. For all else say it:
- `--labels 0=background,1=lesion,255=ignore`: names by value. Classes are numbered in this order, values with the same
  name are one class, a range is `1-30=vessel`, and `ignore` becomes nnU-Net's ignore label.
- `--colours FILE`: a text file with a line `R G B name` per colour; `background` and `ignore` as above.
- `--instances`: every value but 0, or every colour but black, is an object, and all are one class, `object`. `--border`
  adds a class where the 3x3 square around a pixel meets two objects.

Images are grey, RGB, or TIFF with a channel per page or plane, of 8 or 16 bits or float; all of the same kind. 8 and 16
bits become png, floats and signed numbers tif (float32), NIfTI stays NIfTI. nnU-Net normalises each image by itself
(z-score), which assumes nothing about what the values mean; for CT, set the channel's name in dataset.json to `CT`
before planning.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nnunet_mamba.dataset_conversion.dataset import BadCase, Case, Dataset, Option, Pixels, Source
from nnunet_mamba.dataset_conversion.formats.common_kind import NIFTI, common_kind
from nnunet_mamba.dataset_conversion.formats.folders import NIFTI_ENDINGS
from nnunet_mamba.dataset_conversion.formats.label_decision import Wanted, decide
from nnunet_mamba.dataset_conversion.formats.label_names import parse_labels, read_colours
from nnunet_mamba.dataset_conversion.formats.label_rules import ByName, Objects
from nnunet_mamba.dataset_conversion.formats.mask_values import look_at
from nnunet_mamba.dataset_conversion.formats.pairs import find_files, pair_files
from nnunet_mamba.dataset_conversion.formats.patients import name_groups
from nnunet_mamba.dataset_conversion.formats.pixels import Kind, read_pixels
from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers

if TYPE_CHECKING:
    import SimpleITK

Groups = re.Pattern[str]


def find_cases(
    images: Path, masks: Path | None = None, groups: Groups | None = None
) -> tuple[list[Case], list[BadCase]]:
    """The images with their masks, and those with no mask, several masks or no group."""
    pairs, bad = pair_files(*find_files(images, masks))
    cases = []
    for image, mask in pairs:
        group = image.folders[0] if image.folders else image.id
        if groups is not None:
            match = groups.search(image.text)
            group = match[1 if groups.groups else 0] if match else ""
        if group:
            cases.append(Case(image.id, group, image.path, mask))
        elif groups is not None:
            reason = f"{image.path}: --group-regex {groups.pattern!r} finds nothing in {image.text!r}"
            bad.append(BadCase(image.id, reason))
    return cases, bad


def read_case(case: Case, kind: Kind, rule: ByName | Objects) -> tuple[Pixels, Pixels | None]:
    """The image as `kind` says, (H, W) or (H, W, C), and labels (H, W) uint8 from 0 on; or two volumes."""
    if kind == NIFTI:
        return _read_volumes(case, rule)
    image, _ = read_pixels(case.image)
    if not np.isfinite(image).all():
        raise ValueError(f"{case.image}: holds values that are not finite (NaN); nnU-Net cannot use them")
    return image.astype(kind.dtype), None if case.mask is None else rule.read(case.mask)


def with_options(
    dataset: Dataset,
    name: str,
    group_regex: str | None,
    labels: str | None,
    colours: str | None,
    instances: bool,
    border: bool,
) -> Dataset:
    """The data set with the user's name, groups and meaning of the masks.

    Raises:
        ValueError: no usable name, regular expression, labels or file of colours, or two ways to say what masks mean.
    """
    groups = None
    if group_regex is not None:
        try:
            groups = re.compile(group_regex)
        except re.error as error:
            raise ValueError(f"--group-regex {group_regex!r} is not a regular expression: {error}") from error
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"--name takes letters, digits, - and _; got {name!r}")
    if sum((labels is not None, colours is not None, instances)) > 1:
        raise ValueError("give one of --labels, --colours and --instances")
    if border and not instances:
        raise ValueError("--border needs --instances: it is the border between objects")
    wanted = Wanted(
        labels=() if labels is None else parse_labels(labels),
        colours=() if colours is None else read_colours(Path(colours)),
        instances=instances,
        border=border,
    )
    return replace(
        dataset,
        name=name,
        find_cases=partial(find_cases, groups=groups),
        with_sources=partial(with_sources, wanted=wanted, grouped=groups is not None),
    )


def with_sources(dataset: Dataset, folders: Sequence[Path], workers: Workers, wanted: Wanted, grouped: bool) -> Dataset:
    """The data set with the channels of the images and the classes of the masks."""
    images, masks = find_files(folders[0], folders[1] if len(folders) > 1 else None)
    groups = "by --group-regex" if grouped else name_groups(folders[0], images)
    kind = common_kind(folders[0], images, workers)
    paths = [mask.path for mask in masks]
    facts = workers.run(partial(look_at, as_colours=bool(wanted.colours)), paths, "masks")
    if any(mask.colours for mask in facts) and not (wanted.instances or wanted.colours):
        facts = workers.run(partial(look_at, as_colours=True), paths, "colours")
    decision = decide(facts, wanted, folders[-1])
    nifti, floats = kind == NIFTI, kind.dtype == "float32"
    return replace(
        dataset,
        channel_names=kind.channels,
        file_ending=".nii.gz" if nifti else ".tif" if floats else ".png",
        reader_writer="SimpleITKIO" if nifti else "NaturalImage2DIO",
        labels=decision.labels,
        read_case=partial(read_case, kind=kind, rule=decision.rule),
        facts={"images": "NIfTI" if nifti else f"{kind}, {kind.dtype}", "groups": groups},
        mask_values=decision.values,
    )


def _read_volumes(case: Case, rule: ByName | Objects) -> tuple["SimpleITK.Image", "SimpleITK.Image | None"]:
    import SimpleITK as sitk  # here, because it takes 0.2 s and 2-D images do without

    from nnunet_mamba.dataset_conversion.formats.volumes import read_nifti

    image = read_nifti(case.image, or_slice=True)
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise ValueError(f"{case.image}: holds values that are not finite (NaN); nnU-Net cannot use them")
    if case.mask is None:
        return image, None
    if not case.mask.name.lower().endswith(NIFTI_ENDINGS):
        raise ValueError(f"{case.mask}: expected NIfTI, as its image {case.image.name} is")
    labels = sitk.GetImageFromArray(rule.read(case.mask))
    labels.CopyInformation(read_nifti(case.mask, or_slice=True))
    return image, labels


GENERIC = Dataset(
    name="generic",
    what="any images with masks: 2-D of any depth and channels, or NIfTI; in two folders or in one",
    segments="what the masks hold; named by `--labels` or `--colours`",
    never_split="image, the folder of a patient, or what `--group-regex` finds",
    labels={"background": 0, "foreground": 1},
    description="Images and masks from folders",
    reference="none given",
    licence="none given",
    release="none given",
    find_cases=find_cases,
    sources=(
        Source("--images", "DIR", "folder or zip of images, or of images and masks", short="-i"),
        Source(
            "--masks", "DIR", "folder or zip of masks: a.png or a_mask.png, a_label.png, ... for a.png", optional=True
        ),
    ),
    options=(
        Option("--name", "of the data set", default="Generic"),
        Option("--group-regex", "the part of a name that folds keep together, such as '^(P[0-9]+)'"),
        Option(
            "--labels", "what the values of the masks mean: 0=background,1=lesion,255=ignore", takes="VALUE=NAME,..."
        ),
        Option("--colours", "what the colours of the masks mean: a text file with lines R G B name", takes="FILE"),
        Option("--instances", "every value but 0 is an object; all are one class", default=False),
        Option("--border", "with `--instances`: add a class between objects that touch", default=False),
    ),
    with_options=with_options,
)
