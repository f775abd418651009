"""A network's cost as a table, as JSON and as a picture."""

from collections import defaultdict
from pathlib import Path
from typing import Any

from nnunet_mamba import __version__, catalogue
from nnunet_mamba.costs.arithmetic import Arithmetic
from nnunet_mamba.costs.measured import Measured, part_of
from nnunet_mamba.costs.subject import Subject
from nnunet_mamba.machine_memory import GIB

MOST_LAYERS = 15  # on the terminal


def as_json(subject: Subject, arithmetic: Arithmetic, measured: Measured) -> dict[str, Any]:
    """Everything, in parameters, multiply-adds, seconds and bytes."""
    return {
        "trainer": subject.name,
        "patch": list(subject.patch),
        "channels": subject.in_channels,
        "heads": subject.heads,
        "batch": subject.batch,
        "parameters": arithmetic.parameters,
        "multiply_adds": arithmetic.multiply_adds,
        "scan_multiply_adds": arithmetic.scan,
        "same_convolutions": arithmetic.of_same_convolutions,
        "measured": measured._asdict(),
        "layers": [layer._asdict() for layer in arithmetic.layers],
        "version": __version__,
    }


def table(subject: Subject, arithmetic: Arithmetic, measured: Measured) -> str:
    """The table for the terminal, with the costliest layers and where published figures come from."""
    patch = " x ".join(map(str, subject.patch))
    memory = [_memory(measured.forward_bytes), _memory(measured.step_bytes)]
    rows = [
        ("trainer", subject.name),
        ("patch", f"{subject.in_channels} x {patch}, {subject.heads} channels of logits"),
        ("parameters", f"{arithmetic.parameters / 1e6:.2f} M"),
        ("multiply-adds", f"{giga(arithmetic.multiply_adds)} without the scan"),
        ("", f"{giga(arithmetic.scan)} in the scan"),
        ("", f"{giga(arithmetic.multiply_adds + arithmetic.scan)} together"),
        ("forward", f"{measured.forward_seconds:.3f} s for one patch, {memory[0]}"),
        ("training step", f"{measured.step_seconds:.3f} s for a batch of {subject.batch}, {memory[1]}"),
        ("measured on", f"{measured.device}, {measured.threads} threads, medians of {measured.runs} runs"),
    ]
    lines = [f"  {name:<15} {value}" for name, value in rows]
    costly = sorted(arithmetic.layers, key=lambda layer: -(layer.multiply_adds + layer.scan))
    lines += ["", f"  {'multiply-adds':>13} {'scan':>9} {'parameters':>10}  layer"]
    for layer in costly[:MOST_LAYERS]:
        scan = giga(layer.scan) if layer.scan else ""
        lines.append(f"  {giga(layer.multiply_adds):>13} {scan:>9} {layer.parameters:>10}  {layer.name} ({layer.kind})")
    if len(costly) > MOST_LAYERS:
        rest = costly[MOST_LAYERS:]
        lines.append(
            f"  {giga(sum(x.multiply_adds for x in rest)):>13} {giga(sum(x.scan for x in rest)):>9} "
            f"{sum(x.parameters for x in rest):>10}  {len(rest)} further layers, in the JSON"
        )
    return "\n".join([*lines, "", *_published(subject, arithmetic)])


def _published(subject: Subject, arithmetic: Arithmetic) -> list[str]:
    """Why the papers' figures are lower."""
    same = arithmetic.of_same_convolutions
    lines = [
        "  In the literature these figures often come from fvcore. It does not know aten::_convolution_mode and leaves",
        "  out every convolution that is written with padding='same'. Convolutions of this network that keep the size",
        f"  are {giga(same)} of the multiply-adds above; {giga(arithmetic.multiply_adds - same)} would remain.",
    ]
    entry = _entry(subject.name)
    if entry is not None and entry.by_fvcore and entry.by_torch:
        lines += [
            f"  For one class and 3 x 192 x 256, fvcore counts {entry.by_fvcore / 1e9:.3f} G in the authors' code, "
            f"the paper's",
            f"  figure; torch's own counter counts {giga(entry.by_torch)} in the same code. Neither counts the scan.",
        ]
    return lines


def _entry(trainer: str) -> catalogue.Entry | None:
    try:
        return catalogue.find(trainer)[0]
    except KeyError:
        return None


def giga(number: float) -> str:
    """1.71 G, or in M below 0.01 G."""
    return f"{number / 1e9:.2f} G" if number >= 1e7 else f"{number / 1e6:.2f} M"


def _memory(number: int | None) -> str:
    return "peak memory not known on this system" if number is None else f"peak memory {number / GIB:.2f} GiB"


def draw(subject: Subject, arithmetic: Arithmetic, measured: Measured, file: Path) -> None:
    """A picture: arithmetic and time of each part, the scan apart; below, the time of a forward and of a step."""
    from matplotlib.figure import Figure

    shares: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for layer in arithmetic.layers:
        share = shares[part_of(layer.name)]
        share[1 if layer.keeps_size else 0] += layer.multiply_adds / 1e9
        share[2] += layer.scan / 1e9
    names = [name for name, share in shares.items() if sum(share) > 0 or name in measured.parts]
    figure = Figure(figsize=(11, 2.6 + 0.3 * len(names)), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(3, 2), height_ratios=(max(2, len(names)), 2.2))
    work, times, below = (figure.add_subplot(cell) for cell in (grid[0, 0], grid[0, 1], grid[1, :]))
    kinds = (
        ("convolutions and products", "#4477aa", ""),
        ("convolutions that keep the size: left out by fvcore if padding='same'", "#ccbb44", ".."),
        ("scan", "#aa3377", "//"),
    )
    left = [0.0] * len(names)
    for i, (kind, colour, hatch) in enumerate(kinds):
        widths = [shares[name][i] for name in names]
        work.barh(names, widths, left=left, label=kind, color=colour, hatch=hatch, edgecolor="white")
        left = [a + b for a, b in zip(left, widths)]
    patch = " x ".join(map(str, subject.patch))
    total = giga(arithmetic.multiply_adds + arithmetic.scan)
    work.set(
        xlabel="multiply-adds, G", title=f"{subject.name}, {subject.in_channels} x {patch}: {total}", xlim=(0, None)
    )
    times.barh(names, [measured.parts.get(name, 0.0) for name in names], color="#66aa77")
    times.set(xlabel=f"seconds of a forward on {measured.device}", xlim=(0, None))
    times.tick_params(labelleft=False)
    for axes in (work, times):
        axes.set_ylim(len(names) - 0.4, -0.6)
    passes = (
        (f"training step, batch {subject.batch}", measured.step_seconds, measured.step_bytes),
        ("forward, one patch", measured.forward_seconds, measured.forward_bytes),
    )
    below.barh([name for name, *_ in passes], [seconds for _, seconds, _ in passes], color="#66aa77")
    for y, (_, seconds, size) in enumerate(passes):
        below.text(seconds, y, f" {seconds:.3f} s" + (f", {size / GIB:.2f} GiB" if size else ""), va="center")
    below.set(xlabel=f"seconds on {measured.device}", xlim=(0, 1.3 * max(measured.step_seconds, 1e-9)))
    figure.legend(*work.get_legend_handles_labels(), loc="outside lower center", fontsize="small")
    figure.savefig(file, dpi=120, format="png")
