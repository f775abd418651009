"""Errors about masks whose meaning is in doubt: what was found, and the options that would settle it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_mamba.dataset_conversion.dataset import Undecided
from nnunet_mamba.dataset_conversion.formats.label_names import BACKGROUND, IGNORE, Named, colour_text
from nnunet_mamba.dataset_conversion.formats.label_rules import WHITE
from nnunet_mamba.dataset_conversion.formats.value_counts import ValueCounts

MAX_SHOWN = 16  # values in a message
RARE = 1e-4  # of the pixels
MAX_INDEX = 31  # values up to this are class indices or numbered objects, not shades
FREE = {"labels": None, "colours": None, "instances": False, "border": False}  # the options that an advice sets
Ways = list[tuple[str, Mapping[str, Any]]]
COLOUR_FILE = "colours.txt"
MANY = 8  # with more values or colours, each may be an object
OBJECTS = ("an object per value (--border adds the border between them)", {**FREE, "instances": True})
TWO_LEVELS = "0-127=background,128-255=foreground"


def values(folder: Path, seen: ValueCounts, named: Sequence[Named] = (), nameless: Sequence[int] = ()) -> Undecided:
    """The values found, or those of them without a name in `named`."""
    shown = list(nameless or seen.values)
    given = [_option(entry) for entry in named]
    zero = 0 in seen.values
    indices = zero and all(0 <= value <= MAX_INDEX for value in seen.values if value != WHITE)
    small = sum(seen.share(value) for value in seen.values if value not in (0, WHITE))
    outlined = indices and WHITE in seen.values and seen.share(WHITE) <= small and seen.meet()
    background = 0 if zero else seen.most_common()[0]
    ways: Ways = []
    absent = [entry for entry in named if _is_absent(entry, seen)]
    if len(nameless) == len(absent) == 1 and nameless[0] > 0:  # such as white masks where 1 was named
        other = {absent[0]: f"{nameless[0]}={absent[0].name}"}
        text = ",".join(other.get(entry, _option(entry)) for entry in named)
        ways.append((f"{absent[0].name} is {nameless[0]} in these masks", {**FREE, "labels": text}))
    if len(shown) <= MAX_INDEX + 2:
        names = {} if named else {background: BACKGROUND}  # first, so that the option never starts with a minus
        names |= {value: f"class_{value}" for value in shown if value not in names}
        if outlined and WHITE in names:
            names[WHITE] = IGNORE
        text = ",".join([*given, *(f"{value}={name}" for value, name in names.items())])
        ways.append(("a class per value (choose the names)", {**FREE, "labels": text}))
    if zero and not named and not seen.meet():
        text = ",".join(["0=background", *(f"{value}=foreground" for value in shown if value != 0)])
        ways.append(("one class, of another value in some masks", {**FREE, "labels": text}))
    many = len(seen.values) > MANY or seen.values[-1] > WHITE
    if zero and not named and not outlined and (many or indices and WHITE not in seen.values):
        ways.append(OBJECTS)
    if zero and not indices and len(seen.values) > 3 and seen.values[-1] <= WHITE:
        ways.append(("black and white, grey is only at edges", {**FREE, "labels": TWO_LEVELS}))
    hint = f" {WHITE} beside small values often marks outlines that training ignores." if outlined else ""
    if any(seen.share(value) < RARE for value in shown):
        hint += " A value of few pixels may be a slip; then mend its mask."
    what = "values without a name in --labels" if nameless else "values of the masks can mean several things"
    return Undecided(f"{folder}: {what}.{hint}\n{_table(shown, seen, str)}", ways)


def colours(folder: Path, seen: ValueCounts, named: Sequence[Named] = (), nameless: Sequence[int] = ()) -> Undecided:
    """The lines that a file of colours needs, or still needs."""
    shown = sorted(nameless or seen.values, key=lambda value: -seen.share(value))
    background = 0 if 0 in seen.values else seen.most_common()[0]
    names = {value: f"class_{i}" for i, value in enumerate((v for v in shown if v != background), start=len(named) + 1)}
    if not named:
        names[background] = BACKGROUND
    lines = []
    for value in shown[:MAX_SHOWN]:
        count, example = seen.holders(value)
        line = f"{colour_text(value)} {names.get(value, BACKGROUND)}"
        share = f"{_percent(seen.share(value))} of the pixels"
        lines.append(f"{line:<28} # {share}, in {count} of {len(seen.masks)} masks such as {example}")
    if len(shown) > MAX_SHOWN:
        rest = sum(map(seen.share, shown[MAX_SHOWN:]))
        lines.append(
            f"# and {len(shown) - MAX_SHOWN} more colours on {_percent(rest)} of the pixels: "
            "if they are mixtures at edges, the masks were resampled; get them as they were drawn"
        )
    if nameless:
        what = "colours that the file of --colours does not name; add such lines to it"
    else:
        what = f"masks in colour; say which class each stands for, in a file such as this {COLOUR_FILE}"
    ways: Ways = [] if nameless else [("with that file", {**FREE, "colours": COLOUR_FILE})]
    if not nameless and 0 in seen.values and len(seen.values) > MANY:
        ways.append(OBJECTS)
    return Undecided("\n".join([f"{folder}: {what}:", *lines]), ways)


def lossy(folder: Path, example: Path) -> Undecided:
    """JPEG masks of anything but black and white."""
    return Undecided(
        f"{example}: a JPEG mask, and the masks in {folder} are not black and white only: JPEG is lossy and mixes the "
        "values of classes; get the masks as PNG or TIFF",
        [("if they are black and white all the same", {**FREE, "labels": TWO_LEVELS})],
    )


def one_value(folder: Path) -> Undecided:
    """`--border` for masks without a value per object."""
    return Undecided(
        f"{folder}: --border needs a value per object, but no mask holds more than one value besides 0",
        [("without the border", {**FREE, "instances": True})],
    )


def _table(shown: Sequence[int], seen: ValueCounts, text: Callable[[int], str]) -> str:
    rows = [f"{'value':>8} {'of the pixels':>14}   in"]
    for value in shown[:MAX_SHOWN]:
        count, example = seen.holders(value)
        rows.append(
            f"{text(value):>8} {_percent(seen.share(value)):>14}   {count} of {len(seen.masks)} masks such as {example}"
        )
    if len(shown) > MAX_SHOWN:
        rows.append(f"     and {len(shown) - MAX_SHOWN} more, up to {text(shown[-1])}")
    return "\n".join(rows)


def _is_absent(entry: Named, seen: ValueCounts) -> bool:
    """Whether no mask has a pixel of this class."""
    return entry.name not in (BACKGROUND, IGNORE) and not any(
        entry.first <= value <= entry.last for value in seen.values
    )


def _option(entry: Named) -> str:
    values = str(entry.first) if entry.first == entry.last else f"{entry.first}-{entry.last}"
    return f"{values}={entry.name}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %" if share >= RARE else "under 0.01 %"
