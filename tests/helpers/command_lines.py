"""Checks lines of a shell without running them: by our parsers and nnU-Net's, and by what files there are."""

import argparse
import configparser
import re
import shlex
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import PurePosixPath
from unittest import mock

from helpers.pages import ROOT
from nnunet_mamba.cli.main import make_parser
from nnunet_mamba.dataset_conversion.pipeline.command_line import make_parser as make_dataset_parser
from nnunet_mamba.dataset_conversion.pipeline.registry import all_datasets, find_dataset

# of the shell and of other projects: their arguments are not ours to check
OTHERS = {"cd", "eval", "export", "git", "mkdir", "pre-commit", "rm", "source", ".", "twine"}


class Wrong(AssertionError):
    """A command line that would not work."""


def check_lines(code: str) -> int:
    """Check every command of a block; returns their number. Raises Wrong."""
    commands = [command for line in code.replace("\\\n", " ").splitlines() for command in _commands(line)]
    for command in commands:
        _check(command)
    return len(commands)


def check_mention(code: str) -> None:
    """A command named in a sentence, maybe with `...`: the command and its options exist."""
    words = code.split()
    if words[0].startswith("nnUNetv2_") and words[0] not in _nnunet_commands():
        raise Wrong(f"{code}: nnU-Net has no such command")
    if words[0] != "nnunet_mamba" or len(words) == 1:
        return
    known = _options_of(words[1])
    for word in words[2:]:
        if re.match(r"--?[a-z]", word) and word not in known:
            raise Wrong(f"{code}: {words[1]} has no option {word}")


def _commands(line: str) -> list[list[str]]:
    """The words of each command of a line, without variables set before it."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word in ("&&", "|", ";"):
            commands.append([])
        elif commands[-1] or not re.match(r"\w+=", word):
            commands[-1].append(word)
    return [command for command in commands if command]


def _check(command: list[str]) -> None:
    name, arguments = PurePosixPath(command[0]).name or command[0], command[1:]
    if name == "nnunet_mamba":
        _check_ours(arguments)
    elif name in _nnunet_commands():
        _check_nnunet(name, arguments)
    elif re.fullmatch(r"python(3(\.\d+)?)?", name):
        _check_python(arguments)
    elif name == "pip":
        _check_pip(arguments)
    elif name == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        _check_all(command, (word for word in arguments if "=" not in word), targets)
    elif name in ("bash", "pytest"):
        files = [word for word in arguments if not word.startswith("-") and not word.isdecimal()]
        _check_all(command, files, [word for word in files if (ROOT / word).exists() or word == "loadfile"])
    elif name not in OTHERS:
        raise Wrong(f"{shlex.join(command)}: unknown command")


def _check_all(command: list[str], words, known) -> None:
    for word in words:
        if word not in known:
            raise Wrong(f"{shlex.join(command)}: there is no {word}")


def _check_ours(arguments: list[str]) -> None:
    args = _parse(make_parser().parse_args, arguments, f"nnunet_mamba {shlex.join(arguments)}")
    if args and args.command == "convert" and args.options != ["--help"]:
        parser = make_dataset_parser(find_dataset(args.dataset), args.dataset)
        _parse(parser.parse_args, args.options, f"nnunet_mamba {shlex.join(arguments)}")


def _check_nnunet(name: str, arguments: list[str]) -> None:
    """nnU-Net's commands make their parser and go on: they are stopped where they have parsed."""

    class Parsed(Exception):
        pass

    real = argparse.ArgumentParser.parse_args

    def parse(self, *given):
        real(self, *given)
        raise Parsed

    def run(_):
        with (
            mock.patch.object(argparse.ArgumentParser, "parse_args", parse),
            mock.patch.object(sys, "argv", [name, *arguments]),
        ):
            try:
                _nnunet_commands()[name].load()()
            except Parsed:
                return
        raise Wrong(f"{name}: it has no parser")

    _parse(run, arguments, f"{name} {shlex.join(arguments)}")


def _parse(parse, arguments: list[str], typed: str):
    """What `parse` makes of the arguments; None if that prints help."""
    said: list[str] = []
    with mock.patch.object(argparse.ArgumentParser, "_print_message", lambda self, text, file=None: said.append(text)):
        try:
            return parse(arguments)
        except SystemExit as stop:
            if stop.code:
                raise Wrong(f"{typed}: {''.join(said)}") from None
            return None


def _check_python(arguments: list[str]) -> None:
    first, *rest = arguments
    if first == "-c":
        compile(rest[0], "-c", "exec")
    elif first == "-m":
        _check_all(["python", *arguments], rest[:1], ("venv", "build", "pip", "nnunet_mamba"))
    else:
        _check_all(["python", *arguments], [first], [first] if (ROOT / first).is_file() else [])
        options = [word for word in rest if word.startswith("-")]
        _check_all(["python", *arguments], options, re.findall(r'"(--?[\w-]+)"', (ROOT / first).read_text()))


def _check_pip(arguments: list[str]) -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    wanted = {
        extra
        for word in arguments
        if (match := re.fullmatch(r"(?:\.|nnunet-mamba)\[(.+)\]", word))
        for extra in match[1].split(",")
    }
    _check_all(["pip", *arguments], wanted, settings["options.extras_require"])


@cache
def _nnunet_commands() -> dict:
    return {script.name: script for script in entry_points(group="console_scripts") if script.name[:9] == "nnUNetv2_"}


@cache
def _options_of(command: str) -> set[str]:
    parsers = next(a for a in make_parser()._actions if isinstance(a, argparse._SubParsersAction)).choices
    if command not in parsers:
        return {"--help", "--version"} if command in ("COMMAND", "--help", "--version") else set()
    parsers = [parsers[command]]
    if command == "convert":
        parsers += [make_dataset_parser(dataset, name) for name, dataset in all_datasets().items()]
    return {option for parser in parsers for option in parser._option_string_actions}
