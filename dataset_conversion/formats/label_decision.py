"""What the values of all masks mean: as the user says it, or by itself where there is no doubt; otherwise an error."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_mamba.dataset_conversion.dataset import MaskValue
from nnunet_mamba.dataset_conversion.formats import label_advice as advice
from nnunet_mamba.dataset_conversion.formats.label_names import BACKGROUND, Named, colour_text, labels_of
from nnunet_mamba.dataset_conversion.formats.label_rules import BORDER, OBJECT, THRESHOLD, WHITE, ByName, Objects
from nnunet_mamba.dataset_conversion.formats.mask_values import MaskFacts
from nnunet_mamba.dataset_conversion.formats.soft_masks import are_black_and_white
from nnunet_mamba.dataset_conversion.formats.value_counts import ValueCounts

FOREGROUND = "foreground"
FEW_SHADES = 8  # so many between 0 and 255, or fewer, may be classes; the soft edges of masks have more


@dataclass(frozen=True)
class Wanted:
    """What the user says about the masks; at most one of `labels`, `colours` and `instances`."""

    labels: tuple[Named, ...] = ()
    colours: tuple[Named, ...] = ()
    instances: bool = False
    border: bool = False


@dataclass(frozen=True)
class Decision:
    """How a mask is read, the labels for nnU-Net, and what each value became."""

    rule: ByName | Objects
    labels: dict[str, int]
    values: tuple[MaskValue, ...] = field(default=())


def decide(masks: Sequence[MaskFacts], wanted: Wanted, folder: Path) -> Decision:
    """The meaning of the values in `masks`, which lie in `folder`.

    Without a word of the user only two cases are certain: 0 (black) and one other value (colour); and black and white
    with soft edges, where values above 127 are foreground.

    Raises:
        Undecided: the values may mean several things, or some have no name.
        ValueError: the masks cannot have the meaning that is wanted.
    """
    seen = ValueCounts(masks, folder)
    lossy = [mask.path for mask in masks if mask.lossy and mask.counts]
    if wanted.colours:
        if lossy:
            raise advice.lossy(folder, lossy[0])
        return _by_name(wanted.colours, seen, folder, colours=True)
    if wanted.instances:
        if lossy:
            raise advice.lossy(folder, lossy[0])
        return _objects(wanted.border, seen, masks, folder)
    if any(mask.colours for mask in masks):
        return _by_colour(bool(wanted.labels), seen, folder, lossy)
    soft = _are_soft(masks, seen)
    if wanted.labels:
        names = {entry.name for entry in wanted.labels}
        ends = {_name_of(value, wanted.labels) for value in (0, WHITE)}
        if len(names) == 2 and ends == names:  # two levels
            if soft and (lossy or _without_name(wanted.labels, seen)):
                return _above_threshold(wanted.labels, seen)
            if lossy and not _without_name(wanted.labels, seen):
                return _by_name(wanted.labels, seen, folder)
        if lossy:
            raise advice.lossy(folder, lossy[0])
        return _by_name(wanted.labels, seen, folder)
    if soft:
        return _above_threshold((Named(0, 0, BACKGROUND), Named(WHITE, WHITE, FOREGROUND)), seen)
    if lossy:
        raise advice.lossy(folder, lossy[0])
    if len(seen.values) == 1:
        raise ValueError(f"{folder}: every pixel of every mask is {seen.values[0]}; there is nothing to learn")
    if len(seen.values) != 2 or seen.values[0] != 0:
        if seen.values:
            raise advice.values(folder, seen)
        return Decision(ByName((), {}), {BACKGROUND: 0, FOREGROUND: 1})  # all broken: the verification tells
    return _by_name((Named(0, 0, BACKGROUND), Named(seen.values[1], seen.values[1], FOREGROUND)), seen, folder)


def _are_soft(masks: Sequence[MaskFacts], seen: ValueCounts) -> bool:
    """Whether the masks are black and white with soft edges; `False` for masks of two values."""
    lossy = any(mask.lossy for mask in masks)
    if not lossy and len(seen.values) - 2 <= FEW_SHADES:
        return False
    if any(mask.edges is None and not mask.counts.keys() <= {0, WHITE} for mask in masks):
        return False
    return are_black_and_white(mask.edges for mask in masks if mask.edges is not None)


def _by_colour(labels: bool, seen: ValueCounts, folder: Path, lossy: Sequence[Path]) -> Decision:
    if lossy:
        raise advice.lossy(folder, lossy[0])
    if labels or len(seen.values) != 2 or seen.values[0] != 0:
        raise advice.colours(folder, seen)
    colour = seen.values[1]
    return _by_name((Named(0, 0, BACKGROUND), Named(colour, colour, FOREGROUND)), seen, folder, colours=True)


def _by_name(entries: Sequence[Named], seen: ValueCounts, folder: Path, colours: bool = False) -> Decision:
    nameless = _without_name(entries, seen)
    if nameless:
        raise (advice.colours if colours else advice.values)(folder, seen, entries, nameless)
    labels = labels_of(entries)
    values = tuple(
        MaskValue(_text(entry, colours), entry.name, seen.share_between(entry.first, entry.last)) for entry in entries
    )
    return Decision(ByName(tuple(entries), labels, colours), labels, values)


def _above_threshold(entries: Sequence[Named], seen: ValueCounts) -> Decision:
    labels = labels_of(entries)
    low, high = (str(_name_of(value, entries)) for value in (0, WHITE))
    values = (
        MaskValue(f"0 to {THRESHOLD}", low, seen.share_between(0, THRESHOLD)),
        MaskValue(f"{THRESHOLD + 1} to {WHITE}", high, seen.share_between(THRESHOLD + 1, WHITE)),
    )
    return Decision(ByName(tuple(entries), labels, threshold=True), labels, values)


def _objects(border: bool, seen: ValueCounts, masks: Sequence[MaskFacts], folder: Path) -> Decision:
    if seen.values and 0 not in seen.values:
        raise ValueError(f"{folder}: no pixel of the masks is 0, so with --instances there would be no background")
    if border and not seen.meet():
        raise advice.one_value(folder)
    if border and _are_soft(masks, seen):
        raise ValueError(f"{folder}: the masks are black and white with soft edges; --border needs a value per object")
    labels = {BACKGROUND: 0, "object": OBJECT, **({"border": BORDER} if border else {})}
    background = seen.share_between(0, 0)
    either = " or border" if border else ""
    values = (
        MaskValue("0", f"{BACKGROUND}{either}", background),
        MaskValue(f"{len(seen.values) - 1} others", f"object{either}", 1 - background),
    )
    return Decision(Objects(border), labels, values)


def _without_name(entries: Sequence[Named], seen: ValueCounts) -> list[int]:
    return [value for value in seen.values if _name_of(value, entries) is None]


def _name_of(value: int, entries: Sequence[Named]) -> str | None:
    return next((entry.name for entry in entries if entry.first <= value <= entry.last), None)


def _text(entry: Named, colours: bool) -> str:
    if colours:
        return colour_text(entry.first)
    return str(entry.first) if entry.first == entry.last else f"{entry.first} to {entry.last}"
