"""Draws docs/figures/*.svg: `python docs/scripts/figures.py`. Widths, depths and walks are the code's own.

A test draws them again and compares.
"""

import inspect
from pathlib import Path

import torch
from drawing import Drawing

from nnunet_mamba.networks import SliceMamba, da_mambanet, dermomamba
from nnunet_mamba.ops import cross_scan_orders, slice_scan_orders

FOLDER = Path(__file__).resolve().parents[1] / "figures"
ROW = 84  # pixels from a stage to the next
TALL = 46
LEGEND = (("scan", "with a selective scan"), ("attention", "attention"), ("convolution", "convolution, upsampling"))


def figures() -> dict[str, str]:
    """The SVG of each file."""
    return {
        "da_mambanet.svg": da_mambanet_figure().svg(),
        "dermomamba.svg": dermomamba_figure().svg(),
        "slicemamba.svg": slicemamba_figure().svg(),
        "walks.svg": walks_figure().svg(),
    }


def da_mambanet_figure() -> Drawing:
    widths = (da_mambanet.STEM_CHANNELS, *da_mambanet.STAGE_CHANNELS)
    stages = len(widths) - 1
    drawing = Drawing(1120, 920, "DA-MambaNet: five Multi-Attention Mamba stages down, five gated stages up, two heads")
    _stem(drawing, ["1x1 convolution,", "selective kernels 7x7", _size(widths[0], 0)])
    for i in range(stages):
        y = 96 + ROW * i
        drawing.box(40, y, 190, TALL, ["Multi-Attention Mamba", f"skip {_size(widths[i + 1], i)}"], "scan")
        drawing.arrow((230, y + 23), (298, y + 23))
        drawing.box(300, y, 170, TALL, ["CSAG", f"{_size(2 * widths[i + 1], i)}"], "attention")
        drawing.arrow((470, y + 23), (518, y + 23))
        drawing.box(520, y, 190, TALL, ["axial residual block", _size(widths[i], i)], "convolution")
        drawing.arrow((135, y + TALL), (135, y + ROW - 2))
        drawing.text(146, y + 69, "max pooling / 2", 11, "grey", "start")
        if i:
            drawing.arrow((615, y), (615, y - 18), (385, y - 18), (385, y - 36))
            drawing.text(500, y - 23, "upsampling x 2", 11, "grey")
    bottom = 96 + ROW * stages
    drawing.box(40, bottom, 190, TALL, ["selective-kernel unit", _size(widths[-1], stages)], "convolution")
    drawing.arrow((230, bottom + 23), (385, bottom + 23), (385, bottom - 36))
    # the heads
    for i in range(1, stages):
        y = 96 + ROW * i + 23
        drawing.arrow((710, y), (790, y))
    drawing.box(
        792,
        96 + ROW,
        130,
        ROW * (stages - 2) + TALL,
        ["scale attention", "1x1 to 4 channels", "each, resized"],
        "attention",
    )
    drawing.arrow((710, 119), (938, 119))
    drawing.box(940, 96, 150, TALL, ["decoder", "1x1 convolution"], "map")
    drawing.arrow((922, 230), (938, 230))
    drawing.box(940, 207, 150, TALL, ["layer", "1x1 convolution"], "map")
    drawing.circle(1015, 175, "+")
    drawing.arrow((1015, 142), (1015, 164))
    drawing.arrow((1015, 207), (1015, 186))
    drawing.arrow((1025, 175), (1062, 175))
    drawing.text(1066, 180, "final", 13, "bold", "start")
    # inside a stage
    _panel(drawing, 40, 600, 1040, 270, "Multi-Attention Mamba: the channels in four quarters")
    for k in range(4):
        y = 636 + 46 * k
        drawing.box(60, y, 84, 34, [f"quarter {k + 1}"], "plain")
        if k < 2:
            steps = (
                ("spatial priority attention", "attention"),
                ("channel priority attention", "attention"),
                ("VSS block", "scan"),
            )
        else:
            steps = (
                ("depthwise 3x3", "convolution"),
                ("VSS block", "scan"),
                ("norm, residual", "plain"),
                ("axial 3x3", "convolution"),
            )
        wide = 176 if k < 2 else 127
        x = 164
        for text, kind in steps:
            drawing.arrow((x - 20, y + 17), (x - 2, y + 17))
            drawing.box(x, y, wide, 34, [""], kind)
            drawing.text(x + wide / 2, y + 21, text, 11)
            x += wide + 20
        drawing.arrow((x - 20, y + 17), (x - 2, y + 17))
    drawing.box(
        752,
        636,
        150,
        172,
        ["+ each quarter,", "instance norm, ReLU,", "concatenated,", "batch norm, ReLU,", "1x1 convolution"],
        "plain",
    )
    drawing.arrow((902, 722), (940, 722))
    drawing.circle(950, 722, "+")
    drawing.arrow((960, 722), (988, 722))
    drawing.text(992, 727, "skip", 13, "bold", "start")
    drawing.arrow((112, 840), (950, 840), (950, 733))
    drawing.text(500, 834, "shortcut: 1x1 convolution and batch norm of all channels", 11.5, "grey")
    drawing.text(60, 844, "input", 13, "bold", "start")
    _legend(drawing, 896)
    return drawing


def dermomamba_figure() -> Drawing:
    widths = (dermomamba.STEM_CHANNELS, *dermomamba.STAGE_CHANNELS)
    stages = len(widths) - 1
    drawing = Drawing(960, 960, "DermoMamba: five Cross-Scale Mamba stages down, Sweep Mamba, five stages up, one head")
    _stem(drawing, ["1x1 convolution", _size(widths[0], 0)])
    for i in range(stages):
        y = 96 + ROW * i
        drawing.box(40, y, 220, TALL, ["Cross-Scale Mamba, 3x3", f"skip {_size(widths[i + 1], i)}"], "scan")
        drawing.arrow((260, y + 23), (338, y + 23))
        drawing.box(340, y, 120, TALL, ["CBAM", _size(widths[i + 1], i)], "attention")
        drawing.arrow((460, y + 23), (538, y + 23))
        drawing.box(540, y, 220, TALL, ["concatenate, 1x1, 3x3", _size(widths[i], i)], "convolution")
        drawing.arrow((150, y + TALL), (150, y + ROW - 2))
        drawing.text(161, y + 69, "max pooling / 2", 11, "grey", "start")
        drawing.arrow((650, y + ROW), (650, y + TALL + 2))
        drawing.text(661, y + 69, "upsampling x 2", 11, "grey", "start")
    bottom = 96 + ROW * stages
    drawing.box(40, bottom, 220, TALL, ["x + channel attention(x)", _size(widths[-1], stages)], "attention")
    drawing.arrow((260, bottom + 23), (538, bottom + 23))
    drawing.box(540, bottom, 220, TALL, ["Sweep Mamba", _size(widths[-1], stages)], "scan")
    drawing.arrow((760, 119), (798, 119))
    drawing.box(800, 96, 120, TALL, ["logits", "1x1 convolution"], "map")
    # inside the blocks
    _panel(drawing, 40, 600, 430, 300, "Cross-Scale Mamba")
    for k, text in enumerate(("dilation 1", "dilation 2", "dilation 3", "unchanged")):
        y = 636 + 46 * k
        drawing.box(56, y, 84, 34, [f"quarter {k + 1}"], "plain")
        if k < 3:
            drawing.arrow((140, y + 17), (150, y + 17))
            drawing.box(152, y, 104, 34, [""], "convolution")
            drawing.text(204, y + 15, "1x7, 7x1, 3x3", 11)
            drawing.text(204, y + 28, text, 11)
            drawing.arrow((256, y + 17), (268, y + 17))
        else:
            drawing.arrow((140, y + 17), (348, y + 17))
            drawing.text(204, y + 13, text, 11, "grey")
    drawing.box(270, 636, 64, 126, ["VSS", "block,", "shared"], "scan")
    drawing.arrow((334, 699), (348, 699))
    drawing.box(
        350,
        636,
        104,
        172,
        ["joined,", "batch norm, ReLU;", "then 3x3,", "instance norm,", "leaky ReLU,", "with a residual"],
        "plain",
    )
    drawing.text(56, 880, "The encoder's 3x3 convolution to the next width follows.", 11.5, "grey", "start")
    _panel(drawing, 490, 600, 430, 300, "Sweep Mamba: one map, three scans")
    drawing.box(506, 682, 104, 42, ["layer norm,", "channels / 8"], "plain")
    for k, text in enumerate(("as it is", "height as channels", "width as channels")):
        y = 636 + 50 * k
        drawing.arrow((610, 703), (640, y + 20))
        drawing.box(642, y, 124, 40, ["SS2D", text], "scan")
        drawing.arrow((766, y + 20), (796, 703))
    drawing.circle(808, 703, "+")
    drawing.arrow((818, 703), (838, 703))
    drawing.circle(850, 703, "×")
    drawing.arrow((860, 703), (886, 703))
    drawing.text(890, 708, "out", 13, "bold", "start")
    drawing.arrow((558, 724), (558, 812), (850, 812), (850, 714))
    drawing.text(700, 806, "SiLU: the gate", 11.5, "grey")
    drawing.text(506, 850, "Then back to all channels, a residual with a learned", 11.5, "grey", "start")
    drawing.text(506, 866, "scale, batch norm and ReLU.", 11.5, "grey", "start")
    _legend(drawing, 930)
    return drawing


def slicemamba_figure() -> Drawing:
    defaults = {name: value.default for name, value in inspect.signature(SliceMamba).parameters.items()}
    dims, depths, ups = (defaults[name] for name in ("dims", "depths", "depths_decoder"))
    stages = len(dims)
    drawing = Drawing(900, 740, "SliceMamba: four stages of S3 blocks down with patch merging, four up, added skips")
    drawing.box(40, 20, 220, TALL, ["patch embedding 4x4", _size(dims[0], 2)], "convolution")
    drawing.arrow((150, 66), (150, 94))
    for i in range(stages):
        y = 96 + ROW * i
        up = ups[stages - 1 - i]
        drawing.box(40, y, 220, TALL, [f"{depths[i]} S3 blocks", _size(dims[i], i + 2)], "scan")
        drawing.box(560, y, 220, TALL, [f"{up} S3 block{'s' * (up > 1)}", _size(dims[i], i + 2)], "scan")
        if i < stages - 1:
            drawing.arrow((150, y + TALL), (150, y + ROW - 2))
            drawing.text(161, y + 61, "patch merging", 11, "grey", "start")
        if i:
            # the skip is the stage's input; it is added to the output of the decoder's stage
            drawing.arrow((150, y - 18), (659, y - 18))
            drawing.circle(670, y - 18, "+")
            drawing.arrow((670, y), (670, y - 7))
            drawing.arrow((670, y - 28), (670, y - 36))
            drawing.text(690, y - 20, "patch expanding", 11, "grey", "start")
            drawing.text(400, y - 23, "skip", 11, "grey")
    y = 96 + ROW * (stages - 1) + 23
    drawing.arrow((260, y), (558, y))
    drawing.arrow((670, 96), (670, 68))
    drawing.box(560, 20, 220, TALL, ["patch expanding x 4", _size(dims[0] // 4, 0)], "convolution")
    drawing.arrow((780, 43), (798, 43))
    drawing.box(800, 20, 90, TALL, ["logits", "1x1"], "map")
    _panel(drawing, 40, 450, 850, 230, "S3 block: x + BSS(LayerNorm(x)), and inside the bidirectional slice scan (BSS)")
    steps = (
        (["linear", "twice as wide"], "plain"),
        (["depthwise 3x3,", "SiLU"], "convolution"),
        (["four walks", "in slices (h, w),", "scanned, summed"], "scan"),
        (["layer norm"], "plain"),
    )
    x = 66
    for lines, kind in steps:
        drawing.box(x, 510, 130, 62, lines, kind)
        drawing.arrow((x + 130, 541), (x + 153, 541))
        x += 155
    drawing.circle(x + 10, 541, "×")
    drawing.arrow((x + 20, 541), (x + 38, 541))
    drawing.box(x + 40, 510, 130, 62, ["linear", "back to x's width"], "plain")
    drawing.arrow((54, 541), (65, 541))
    drawing.arrow((54, 541), (54, 620), (x + 10, 620), (x + 10, 552))
    drawing.text(380, 613, "linear, SiLU: the gate", 11.5, "grey")
    drawing.text(
        66,
        660,
        "The slices (h, w) of each block are what the search finds; without a search they are (4, 4).",
        11.5,
        "grey",
        "start",
    )
    _legend(drawing, 706)
    return drawing


def walks_figure() -> Drawing:
    """The first and the third of the four walks of each kind; the other two are the same backwards."""
    height, width, side = 4, 8, 34
    cpu = torch.device("cpu")
    cross, slices = (
        cross_scan_orders(height, width, cpu).positions,
        slice_scan_orders(height, width, 2, 2, cpu).positions,
    )
    shown = (
        ("cross scan, along rows", cross[0], 1, width),
        ("cross scan, along columns", cross[1], height, 1),
        ("slice scan, slices of 2 rows", slices[0], 2, width),
        ("slice scan, slices of 2 columns", slices[2], height, 2),
    )
    drawing = Drawing(
        680, 460, "How the scans walk over a map of 4 x 8 positions: along rows, along columns, and in slices"
    )
    for number, (title, walk, rows, columns) in enumerate(shown):
        left, top = 40 + 330 * (number % 2), 50 + 215 * (number // 2)
        drawing.text(left, top - 14, title, 13, "bold", "start")
        for position in range(height * width):
            y, x = divmod(position, width)
            band = (y // rows + x // columns) % 2
            drawing.cell(left + side * x, top + side * y, side, "#e0f2f1" if band else "#ffffff")
        points = [(left + side * (p % width + 0.5), top + side * (p // width + 0.5)) for p in walk.tolist()]
        drawing.line(points, "#00695c")
    drawing.text(
        40,
        450,
        "Each also runs backwards. Neighbours are close in the sequence where the walk goes in slices.",
        11.5,
        "grey",
        "start",
    )
    return drawing


def _stem(drawing: Drawing, lines: list[str]) -> None:
    drawing.box(
        40, 14, 220 if drawing.size[0] < 1000 else 190, 62, ["stem", *lines] if len(lines) < 3 else lines, "convolution"
    )
    middle = 150 if drawing.size[0] < 1000 else 135
    drawing.arrow((middle, 76), (middle, 94))


def _panel(drawing: Drawing, x: float, y: float, width: float, height: float, title: str) -> None:
    drawing.box(x, y, width, height, [""], "map")
    drawing.text(x + 14, y + 22, title, 13, "bold", "start")


def _legend(drawing: Drawing, y: float) -> None:
    x = 40
    for kind, text in LEGEND:
        drawing.box(x, y - 12, 22, 16, [""], kind)
        drawing.text(x + 30, y, text, 12, "", "start")
        x += 48 + 7.2 * len(text)
    drawing.text(x, y, "C x H/2 x W/2: channels, height and width of a map", 12, "grey", "start")


def _size(channels: int, halvings: int) -> str:
    return f"{channels} x H x W" if not halvings else f"{channels} x H/{2**halvings} x W/{2**halvings}"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, svg in figures().items():
        (FOLDER / name).write_text(svg, encoding="utf-8")
