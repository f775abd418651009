"""Writes docs/commands.md from the parsers of the command line: `python docs/scripts/commands.py`. A test compares."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from nnunet_mamba.cli.main import COMMANDS, make_parser
from nnunet_mamba.dataset_conversion.pipeline.command_line import make_parser as make_dataset_parser
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets

PAGE = Path(__file__).resolve().parents[1] / "commands.md"
HEAD = """# Commands

Every command of `nnunet_mamba` and all of its options. `nnunet_mamba COMMAND --help` says the same. A command ends with
exit status 0 if all went well, 1 after an error, 2 if the command line is wrong, 130 after Ctrl-C and 143 after `kill`.
An error is one line that says what to do.

<!-- Written by docs/scripts/commands.py from the parsers: change them, not this page. -->
"""
# the page that explains a command
MORE = {
    "convert": "Details: [data sets](data_sets.md), [your own images](your_images.md).",
    "demo": "What it shows: [the tour](tour.md).",
    "doctor": "What to do about what it finds: [install](install.md).",
    "import-weights": "Details: [weights of the authors](networks_in_pytorch.md#weights-of-the-authors).",
    "plan": "Details: [plan for your memory](memory.md).",
    "predict": "Details: [predict](predict.md).",
    "profile": "Details: [what a network costs](report.md#what-a-network-costs).",
    "report": "Details: [see the result](report.md).",
    "search": "Details: [the slicing search](slicing_search.md).",
}


def page() -> str:
    """The whole page."""
    parsers = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    parts = [HEAD]
    for name in COMMANDS:
        parser = parsers[name]
        more = f" {MORE[name]}" if name in MORE else ""
        parts.append(f"\n## nnunet_mamba {name}\n\n{parser.description}{more}\n")
        parts += _convert() if name == "convert" else _tables(parser)
    return "".join(parts)


def _convert() -> Iterator[str]:
    """The options that all data sets share, then those of each."""
    datasets = all_datasets()
    yield "\n`nnunet_mamba convert DATASET -i FOLDER_OR_ZIP -d ID`, where `DATASET` is one of\n"
    yield ", ".join(f"`{name}`" for name in datasets) + ".\nThese options are the same for each:\n"
    shared, own = {}, {}
    for name, dataset in datasets.items():
        parser = make_dataset_parser(dataset, name)
        of_data_set = {option.flag for option in dataset.options} | {source.flag for source in dataset.sources}
        for action in _actions(parser):
            (own if of_data_set & set(action.option_strings) else shared).setdefault(_row(action), []).append(name)
    everywhere = [row for row, names in shared.items() if len(names) == len(datasets)]
    yield _table(everywhere)
    yield "\nOf one data set, or of some:\n"
    rows = [(", ".join(names), *row) for row, names in own.items()]
    yield _table(sorted(rows, key=lambda row: (-row[0].count(","), row[0])), "`DATASET`")


def _tables(parser: argparse.ArgumentParser) -> Iterator[str]:
    """One table per group of options, under the group's title; arguments and options without a group come first."""
    if not list(_actions(parser)):
        yield "\nIt has no options.\n"
        return
    first, *titled = [(group, _rows(parser, group)) for group in parser._action_groups[1:]]
    yield _table(_rows(parser, parser._action_groups[0]) + first[1])
    for group, rows in titled:
        about = f": {group.description}" if group.description else ""
        yield f"\n**{group.title[0].upper()}{group.title[1:]}**{about}\n{_table(rows)}"


def _rows(parser: argparse.ArgumentParser, group: argparse._ArgumentGroup) -> list[tuple[str, str]]:
    rows = []
    for action in _actions(parser):
        if action in group._group_actions:
            option, meaning = _row(action)
            for exclusive in parser._mutually_exclusive_groups:
                if action in exclusive._group_actions:
                    others = [f"`{other.option_strings[0]}`" for other in exclusive._group_actions if other != action]
                    meaning += f"; not with {', '.join(others)}"
            rows.append((option, meaning))
    return rows


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    yield from (action for action in parser._actions if not isinstance(action, argparse._HelpAction))


def _row(action: argparse.Action) -> tuple[str, str]:
    """The option as typed, and what it means."""
    help = (action.help or "") % {"default": action.default, "choices": ", ".join(map(str, action.choices or ()))}
    needed = " (needed)" if action.required and action.option_strings else ""
    return _cell(f"`{_typed(action)}`"), _cell(f"{help}{needed}")


def _typed(action: argparse.Action) -> str:
    if action.metavar:
        names = action.metavar
    elif action.choices:
        names = "{" + ",".join(map(str, action.choices)) + "}"
    else:
        names = {int: "N", float: "X"}.get(action.type, action.dest.upper())
    if isinstance(names, str):
        names = (names,) * (action.nargs if isinstance(action.nargs, int) else 1)
    values = " ".join(names) + (" ..." if action.nargs == "+" else "")
    return " ".join(part for part in (", ".join(action.option_strings), values) if part)


def _cell(text: str) -> str:
    """Text for a cell of a table: a bar would end it, and what looks like a tag would vanish."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _table(rows: list[tuple[str, ...]], *first: str) -> str:
    if not rows:
        return ""
    lines = [(*first, "option", "meaning"), ("---",) * (len(first) + 2), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
