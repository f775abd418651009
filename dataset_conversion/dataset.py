"""What describes a data set: facts, labels and options, how its cases are found and how one case is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

import numpy as np

from nnunet_mamba.dataset_conversion.formats.images import read_binary_mask, read_rgb

if TYPE_CHECKING:
    import SimpleITK

    from nnunet_mamba.dataset_conversion.pipeline.parallel import Workers

Pixels = Union[np.ndarray, "SimpleITK.Image"]


@dataclass(frozen=True)
class Case:
    """One image with its mask.

    Args:
        group: no two folds share a group. It is the lesion, the patient or the video.
        image: the image file that messages name.
        mask: the mask file that messages name. None: a test case without published labels.
        stratum: folds are balanced over strata; a group has the stratum of its first case.
        test: an official test case. It goes to imagesTs (and to labelsTs if it has a mask) and into no fold.
        extra: anything else that `read_case` needs.
    """

    id: str
    group: str
    image: Path
    mask: Path | None
    stratum: str = ""
    test: bool = False
    extra: tuple[Any, ...] = ()


@dataclass(frozen=True)
class BadCase:
    """A case that is not converted; `reason` names the file and says what is wrong.

    `expected`: the data set is published like this (an image that nobody labelled). It is listed and is no error.
    """

    id: str
    reason: str
    expected: bool = False


class Undecided(ValueError):
    """The source can be read in several ways, and only the user knows which is right.

    Args:
        message: what was found.
        ways: what each way means, and the options of the data set that choose it.
    """

    def __init__(self, message: str, ways: Sequence[tuple[str, Mapping[str, Any]]]):
        super().__init__(message)
        self.ways = ways


class MaskValue(NamedTuple):
    """What a value, a range of values or a colour of the masks became, and its share of all their pixels, 0 to 1."""

    value: str
    name: str
    share: float


def read_rgb_and_mask(case: Case) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) uint8 and labels (H, W) uint8: 0 background, 1 foreground. None if the case has no mask."""
    return read_rgb(case.image), None if case.mask is None else read_binary_mask(case.mask)


@dataclass(frozen=True)
class PaperProtocol:
    """The set-up of the papers, for `--protocol paper`.

    Args:
        size: (H, W) in pixels to resample to, or to crop to with `crop`. None keeps each image's size.
        held_out: how many of the `published` cases the papers evaluate on. 0: unknown, the folds stay as they are.
        held_out_groups: the groups that the papers evaluate on, if they name them. They replace `held_out`.
    """

    size: tuple[int, int] | None
    held_out: int = 0
    published: int = 0
    crop: bool = False
    held_out_groups: tuple[str, ...] = ()

    def held_out_of(self, num_cases: int) -> int:
        """The papers' number if it is at most half of the cases, otherwise the same share of them, at least one."""
        if num_cases >= 2 * self.held_out:
            return self.held_out
        return max(1, round(num_cases * self.held_out / self.published))


@dataclass(frozen=True)
class Source:
    """A folder or zip that the user names.

    Args:
        flag: its option on the command line.
        short: another spelling of the flag.
        optional: may be left out, if the sources before it hold all.
    """

    flag: str = "-i"
    metavar: str = "SRC"
    help: str = "its folder or zip, as downloaded"
    short: str = ""
    optional: bool = False


@dataclass(frozen=True)
class Option:
    """An option of one data set, on the command line and as a keyword of `convert`.

    Args:
        flag: as typed, such as `--official-test`. The conversion report calls it `official_test`.
        default: its type is the option's type (None: text). With False the flag takes no value.
        choices: the allowed values, if not all are.
        keyword: the keyword of `convert`, if it is not the flag's name.
        takes: what follows the flag, in help texts and docs, if it is not the flag's last word.
    """

    flag: str
    help: str
    default: bool | int | str | None = None
    choices: tuple[int | str, ...] = ()
    keyword: str = ""
    takes: str = ""

    @property
    def name(self) -> str:
        """The flag as an identifier."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def key(self) -> str:
        """The keyword of `convert`."""
        return self.keyword or self.name

    @property
    def metavar(self) -> str:
        """What follows the flag, in help texts and docs: `endo|epi|both`, `NAME`, or nothing."""
        if isinstance(self.default, bool):
            return ""
        return self.takes or "|".join(map(str, self.choices)) or self.name.rpartition("_")[2].upper()


@dataclass(frozen=True)
class Dataset:
    """A data set that can be converted.

    Args:
        name: as users type it, and as nnU-Net's folder ends: DatasetXXX_NAME.
        what, segments, never_split: one-line facts for the docs: what it holds, which labels, which group is kept
            together.
        labels: values of the labels, or of a region the values it is made of. Regions need `regions_class_order`.
        description, reference, licence, release: for dataset.json.
        find_cases: from one folder per source to the usable cases and the bad ones. ValueError: not this data set at
            all.
        read_case: from a case to its image and labels. Labels are None if `case.mask` is. ValueError names the broken
            file. For .png: arrays, the image (H, W, 3) uint8, or (H, W) or (H, W, C) uint8 or uint16, labels (H, W)
            uint8. For .tif: the same, the image float32. For .nii.gz: two SimpleITK images of one geometry, (1, H, W)
            or (D, H, W).
        paper: what `--protocol paper` does, if papers agree on anything.
        inner_zips: the zips that it is published as, where these circulate in one zip or lie in one folder.
        options: the data set's own options.
        with_options: from this data set and its options, as keywords, to the data set as it is then.
        with_sources: from the data set, its source folders and worker processes to the data set as it is then.
        facts: what `with_sources` saw in the sources, for the terminal and the report.
        mask_values: what the values of the masks became, if that was chosen for this conversion.

    Functions are module-level functions or `functools.partial` of them, because worker processes import them.
    """

    name: str
    what: str
    segments: str
    never_split: str
    labels: Mapping[str, int | tuple[int, ...]]
    description: str
    reference: str
    licence: str
    release: str
    find_cases: Callable[..., tuple[list[Case], list[BadCase]]]
    read_case: Callable[[Case], tuple[Pixels, Pixels | None]] = read_rgb_and_mask
    paper: PaperProtocol | None = None
    channel_names: tuple[str, ...] = ("R", "G", "B")
    file_ending: str = ".png"
    reader_writer: str = "NaturalImage2DIO"
    regions_class_order: tuple[int, ...] | None = None
    sources: tuple[Source, ...] = (Source(),)
    inner_zips: tuple[str, ...] = ()
    options: tuple[Option, ...] = ()
    with_options: Callable[..., "Dataset"] | None = None
    with_sources: Callable[["Dataset", Sequence[Path], "Workers"], "Dataset"] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    mask_values: tuple[MaskValue, ...] = ()

    def classes(self) -> dict[str, tuple[int, ...]]:
        """Every class or region except the background, with the label values that it is made of."""
        values = {name: value if isinstance(value, tuple) else (value,) for name, value in self.labels.items()}
        return {name: value for name, value in values.items() if name != "background"}

    def check_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All own options by keyword, as given or with their defaults.

        Raises:
            ValueError: an unknown option, or a value that it does not take.
        """
        known = {option.key: option for option in self.options}
        for key in given:
            if key not in known:
                raise ValueError(f"{self.name} has no option {key!r}; its own options: {', '.join(known) or 'none'}")
        chosen = {key: given.get(key, option.default) for key, option in known.items()}
        for key, option in known.items():
            if option.choices and chosen[key] not in option.choices:
                allowed = " or ".join(map(str, option.choices))
                raise ValueError(f"{option.flag} takes {allowed}, got {chosen[key]!r}")
        return chosen
