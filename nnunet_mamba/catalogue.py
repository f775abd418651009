"""What there is: each trainer with its network, loss and paper. Whatever lists them is made from here.

Standard library only, so that command lines and nnU-Net's look-up can ask without importing torch.

A network is a row of `NETWORKS`, its file in networks/ and its trainer's file in trainers/. A loss is one file in
losses/ with a class `<Name>Loss`; the trainer `nnUNetTrainer<Name>` is nnU-Net's own, with that loss.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

LOSSES = Path(__file__).parent / "losses"


@dataclass(frozen=True)
class Entry:
    """A trainer and what it trains; without `key` that is nnU-Net's own network with the loss `loss_class`.

    Attributes:
        trainer: its name, for `-tr`.
        title, loss, paper: what the table of trainers says.
        key: the network's name for `--network`.
        trainer_file, network_file: their modules in nnunet_mamba.trainers and nnunet_mamba.networks.
        network: the network's class.
        parameters, multiply_adds: for one class and an image of 3x192x256.
        by_fvcore, by_torch: multiply-adds of the authors' own code for that image, as fvcore and torch count them.
        sizes: what plans may set, each an argument of the network, with the help for its option.
        sizes_entry: the entry of a plans' configuration that holds these sizes.
        finds: the trainer that takes what `nnunet_mamba search` finds with this one.
        tuned: what the trainer with `_tuned` at its name's end, a class of the same file, does otherwise.
    """

    trainer: str
    title: str
    loss: str
    paper: str
    key: str = ""
    trainer_file: str = ""
    network: str = ""
    network_file: str = ""
    loss_class: str = ""
    parameters: int | None = None
    multiply_adds: int | None = None
    by_fvcore: float | None = None
    by_torch: float | None = None
    sizes: Mapping[str, str] = field(default_factory=dict)
    sizes_entry: str = ""
    finds: str = ""
    tuned: str = ""


SLICEMAMBA_SIZES = {
    "dims": "channels, each twice the one before (96 192 384 768)",
    "depths": "blocks of the encoder (2 2 9 2)",
    "depths_decoder": "blocks of the decoder (2 2 2 1)",
}
NETWORKS = (
    Entry(
        "DAMambaTrainer",
        "DA-MambaNet",
        "ASFM, on three outputs",
        "Nguyen et al. 2025",
        key="da_mambanet",
        trainer_file="da_mamba_trainer",
        network="DAMambaNet",
        network_file="da_mambanet",
        parameters=5_834_124,
        multiply_adds=3_499_392_384,
        by_fvcore=1.712e9,
        by_torch=4.10e9,
        tuned="a higher, falling rate and averaged weights",
    ),
    Entry(
        "DermoMambaTrainer",
        "DermoMamba",
        "Guide Fusion, guided pixel by pixel",
        "Hoang et al. 2025",
        key="dermomamba",
        trainer_file="dermo_mamba_trainer",
        network="DermoMamba",
        network_file="dermomamba",
        parameters=4_953_425,
        multiply_adds=3_468_493_952,
        by_fvcore=0.966e9,
        by_torch=3.78e9,
    ),
    Entry(
        "SliceMambaTrainer",
        "SliceMamba, its slices searched or (4, 4)",
        "nnU-Net's: Dice and cross entropy",
        "Fan et al. 2025",
        key="slicemamba",
        trainer_file="slice_mamba_trainer",
        network="SliceMamba",
        network_file="slicemamba",
        parameters=35_797_993,
        multiply_adds=4_249_239_552,
        sizes=SLICEMAMBA_SIZES,
        sizes_entry="slicemamba",
    ),
    Entry(
        "SliceMambaSupernetTrainer",
        "SliceMamba's supernet, to search slices with",
        "nnU-Net's: Dice and cross entropy",
        "Fan et al. 2025",
        key="slicemamba_supernet",
        trainer_file="slice_mamba_supernet_trainer",
        network="SliceMambaSupernet",
        network_file="slicemamba",
        parameters=133_756_585,
        multiply_adds=4_249_239_552,
        sizes=SLICEMAMBA_SIZES,
        sizes_entry="slicemamba",
        finds="SliceMambaTrainer",
    ),
)


def network(key: str) -> Entry:
    """The row with this `key`."""
    return next(entry for entry in NETWORKS if entry.key == key)


@cache
def loss_files() -> dict[str, str]:
    """The losses: class -> its module in nnunet_mamba.losses, found by their sources."""
    found = {}
    for file in sorted(LOSSES.glob("*.py")):
        for name in re.findall(r"^class ([A-Za-z]\w*Loss)\b", file.read_text(encoding="utf-8"), re.MULTILINE):
            found[name] = file.stem
    return found


@cache
def entries() -> tuple[Entry, ...]:
    """All trainers: those of `NETWORKS`, then one per loss."""
    return (*NETWORKS, *(_with_loss(name, file) for name, file in loss_files().items()))


def _with_loss(name: str, file: str) -> Entry:
    """The loss's title is its file's docstring up to the first comma, its paper the first one cited there."""
    source = (LOSSES / f"{file}.py").read_text(encoding="utf-8")
    title = re.match(r'"""([^,."]+)', source)
    paper = re.search(r"[^\W\d]+ et al\. \d{4}", source)
    return Entry(
        f"nnUNetTrainer{name.removesuffix('Loss')}",
        "nnU-Net's own, 2-D or 3-D",
        title[1] if title else name,
        paper[0] if paper else "",
        loss_class=name,
    )


# attributes that the endings of a trainer's name change
DEMO = {"num_epochs": 5, "num_iterations_per_epoch": 16, "num_val_iterations_per_epoch": 4}
NAME = re.compile(r"(\w+?)(_tuned)?(?:_([1-9][0-9]*)epochs|(_demo))?")


def find(name: str) -> tuple[Entry, dict[str, int]]:
    """The trainer called `name`, and the attributes that `name` changes: `NAME_<n>epochs` trains for n epochs.

    `NAME_demo` is for the minutes of `nnunet_mamba demo`. The entry of `NAME_tuned`, which some trainers have, is that
    of NAME with another `trainer`.

    Raises:
        KeyError: there is no such trainer; says which there are.
    """
    if match := NAME.fullmatch(name):
        trainer, tuned, epochs, demo = match.groups()
        for entry in entries():
            if entry.trainer == trainer and (entry.tuned or not tuned):
                found = replace(entry, trainer=trainer + tuned) if tuned else entry
                return found, DEMO if demo else {"num_epochs": int(epochs)} if epochs else {}
    raise KeyError(
        f"got the trainer {name!r}, wanted {', '.join(names())}, or one of these with _<n>epochs at its end, n from 1"
    )


def names() -> list[str]:
    """Of all trainers, those with `_tuned` too."""
    return [name for each in entries() for name in (each.trainer, *([f"{each.trainer}_tuned"] if each.tuned else []))]


def is_like_ours(name: str) -> bool:
    """Whether `name` is probably meant for one of our trainers."""
    return bool(get_close_matches(name.partition("_")[0], [entry.trainer for entry in entries()], 1, 0.85))


def table() -> str:
    """The trainers as a table in Markdown, for README and docs/networks.md."""
    rows = [
        ("trainer (`-tr`)", "network", "parameters", "multiply-adds at 3x192x256", "loss", "paper"),
        ("---",) * 6,
    ]
    for entry in entries():
        counts = (
            f"{entry.parameters / 1e6:.2f} M" if entry.parameters else "as planned",
            f"{entry.multiply_adds / 1e9:.2f} G" if entry.multiply_adds else "as planned",
        )
        rows.append((f"`{entry.trainer}`", entry.title, *counts, entry.loss, entry.paper))
        if entry.tuned:
            rows.append(
                (f"`{entry.trainer}_tuned`", entry.title, *counts, f"{entry.loss}; {entry.tuned}", "our recipe")
            )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
