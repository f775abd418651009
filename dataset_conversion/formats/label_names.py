"""Which values of a mask have which name, as the user says it: `--labels` or a file of colours."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BACKGROUND, IGNORE = "background", "ignore"
MAX_CLASSES = 254  # nnU-Net writes 8-bit labels up to here
_ENTRY = re.compile(r"\s*(-?\d+)\s*(?:-\s*(\d+)\s*)?=\s*(.*?)\s*")
_COLOUR = re.compile(r"\s*(\d+)[\s,;]+(\d+)[\s,;]+(\d+)[\s,;]+(.*?)\s*")


@dataclass(frozen=True)
class Named:
    """The values from `first` to `last` (colours: 0xRRGGBB, one by one) with the name of their class."""

    first: int
    last: int
    name: str


def parse_labels(text: str) -> tuple[Named, ...]:
    """`0=background,1=lesion,255=ignore`; a range is `1-30=vessel`. One name may have several values.

    Raises:
        ValueError: not of this form, a value named twice, no background, or nothing besides.
    """
    entries = []
    for part in text.split(","):
        match = _ENTRY.fullmatch(part)
        if match is None:
            raise ValueError(f"--labels takes VALUE=NAME,VALUE=NAME,... such as 0=background,1=lesion; got {part!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        entries.append(Named(first, last, _known(match[3])))
    return _checked(entries, "--labels", str)


def read_colours(path: Path) -> tuple[Named, ...]:
    """A text file with a line `R G B name` for each colour; commas do as well, and `#` starts a comment.

    Raises:
        ValueError: no such file, a line of another form, a colour named twice, no background, or nothing besides.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--colours {path}: cannot be read as text ({error})") from error
    entries = []
    for number, line in enumerate(lines, start=1):
        line = line.partition("#")[0]
        if not line.strip():
            continue
        match = _COLOUR.fullmatch(line)
        if match is None or max(map(int, match.groups()[:3])) > 255:
            raise ValueError(
                f"{path}, line {number}: expected R G B name, such as 255 0 0 lesion, R G B from 0 to 255; got {line!r}"
            )
        red, green, blue = map(int, match.groups()[:3])
        code = red << 16 | green << 8 | blue
        entries.append(Named(code, code, _known(match[4])))
    return _checked(entries, str(path), colour_text)


def labels_of(entries: Sequence[Named]) -> dict[str, int]:
    """The labels for nnU-Net: background 0, then the names in their order, and `ignore` as the highest."""
    names = dict.fromkeys(entry.name for entry in entries)
    ordered = [BACKGROUND, *(name for name in names if name not in (BACKGROUND, IGNORE))]
    return {name: i for i, name in enumerate([*ordered, *([IGNORE] if IGNORE in names else [])])}


def colour_text(code: int) -> str:
    """`255 0 0` for 0xFF0000."""
    return f"{code >> 16} {code >> 8 & 255} {code & 255}"


def _known(name: str) -> str:
    return name.lower() if name.lower() in (BACKGROUND, IGNORE) else name


def _checked(entries: list[Named], where: str, text: Callable[[int], str]) -> tuple[Named, ...]:
    ordered = sorted(entries, key=lambda entry: entry.first)
    for entry in ordered:
        if not entry.name or any(sign in entry.name for sign in ",=") or entry.last < entry.first:
            raise ValueError(f"{where}: {text(entry.first)} needs a name without , and =, and a range goes upwards")
    for one, next in zip(ordered, ordered[1:]):
        if next.first <= one.last:
            raise ValueError(f"{where}: {text(next.first)} is named twice, {one.name} and {next.name}")
    names = {entry.name for entry in entries}
    if BACKGROUND not in names:
        raise ValueError(f"{where}: nothing is named background; name the value that is none of the classes so")
    if not 1 <= len(names - {BACKGROUND, IGNORE}) <= MAX_CLASSES - 1:
        raise ValueError(f"{where}: expected 1 to {MAX_CLASSES - 1} classes besides background and ignore")
    return tuple(entries)
