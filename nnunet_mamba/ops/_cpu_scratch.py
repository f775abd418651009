"""The memory that the CPU kernels work in: named arrays, cut from one block per thread.

A layout gives each array's size once. The block's size and the arrays follow from it, so that kernels and memory agree.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np

LANES = 16  # channels in a vector; floats in a cache line
CHUNK = 64  # steps between checkpoints. The backward computes a chunk's states again, four at a time, near the L1 cache

Array = Any  # in a layout: its number of float32; after `carve`: the array


class ForwardScratch(NamedTuple):
    """Panels have a row for each step of a segment."""

    u_panel: Array
    step_panel: Array
    y_panel: Array
    B_panel: Array
    C_panel: Array
    rate: Array
    skip: Array
    bias: Array
    state: Array


class BackwardScratch(NamedTuple):
    """Panels have a row for each step of a segment. The last three have one for each step of a chunk, or of four."""

    u_panel: Array
    step_panel: Array
    slope_panel: Array
    grad_panel: Array
    B_panel: Array
    C_panel: Array
    dB_panel: Array
    dC_panel: Array
    rate: Array
    skip: Array
    bias: Array
    dA_sum: Array
    carried: Array
    drives: Array
    dsteps: Array
    ddrives: Array
    visited: Array
    decays: Array
    kept: Array
    dB_near: Array
    dC_near: Array
    dstep_rows: Array
    dB_rows: Array
    dC_rows: Array


class RowScratch(NamedTuple):
    """For the gradients of depthwise convolutions."""

    row: Array  # of a map, between the zeros that the kernel reaches on both sides
    tail: Array  # the floats of a row that do not fill a vector


Scratch = TypeVar("Scratch", ForwardScratch, BackwardScratch, RowScratch)


def panels_apart(rows: int, states: int, entries: int) -> tuple[int, ...]:
    """Where the panel of B of each batch entry starts. The same for C, dB and dC."""
    # sums of dB and dC are added to four rows at a time
    return tuple(entry * (rows + 3) * round_up(states, LANES) for entry in range(entries))


def forward_layout(rows: int, states: int, blocks: int, entries: int) -> ForwardScratch:
    """For segments of at most `rows` steps, and items of at most `blocks` blocks of channels of `entries` entries."""
    panels = panels_apart(rows, states, entries + 1)[-1]
    return ForwardScratch(
        u_panel=rows * LANES,
        step_panel=rows * LANES,
        y_panel=rows * LANES,
        B_panel=panels,
        C_panel=panels,
        rate=states * LANES,
        skip=LANES,
        bias=LANES,
        state=blocks * states * LANES,
    )


def backward_layout(rows: int, states: int, blocks: int, entries: int) -> BackwardScratch:
    """The same for the backward pass. States are padded to a multiple of four, because it takes four at a time."""
    width, padded = round_up(states, LANES), round_up(states, 4)
    panels = panels_apart(rows, states, entries + 1)[-1]
    return BackwardScratch(
        u_panel=rows * LANES,
        step_panel=rows * LANES,
        slope_panel=rows * LANES,
        grad_panel=rows * LANES,
        B_panel=panels,
        C_panel=panels,
        dB_panel=panels,
        dC_panel=panels,
        rate=padded * LANES,
        skip=LANES,
        bias=LANES,
        dA_sum=padded * LANES,
        carried=blocks * padded * LANES,
        drives=CHUNK * LANES,
        dsteps=CHUNK * LANES,
        ddrives=CHUNK * LANES,
        visited=4 * (CHUNK + 1) * LANES,
        decays=4 * CHUNK * LANES,
        kept=padded * LANES,
        dB_near=entries * CHUNK * width,
        dC_near=entries * CHUNK * width,
        dstep_rows=0,
        dB_rows=0,
        dC_rows=0,
    )


def projected_forward_layout(rows: int, states: int, entries: int) -> ForwardScratch:
    """For the kernels that make delta, B and C themselves, a chunk at a time."""
    panels = panels_apart(CHUNK, states, entries + 1)[-1]
    layout = forward_layout(rows, states, 1, entries)
    return layout._replace(step_panel=CHUNK * LANES, B_panel=panels, C_panel=panels)


def projected_backward_layout(rows: int, states: int, entries: int) -> BackwardScratch:
    panels, width = panels_apart(CHUNK, states, entries + 1)[-1], round_up(states, LANES)
    return backward_layout(rows, states, 1, entries)._replace(
        step_panel=CHUNK * LANES,
        slope_panel=CHUNK * LANES,
        B_panel=panels,
        C_panel=panels,
        dB_panel=panels,
        dC_panel=panels,
        dstep_rows=LANES * LANES,
        dB_rows=LANES * width,
        dC_rows=LANES * width,
    )


def row_layout(width: int, channels: int, reach: int) -> RowScratch:
    """For rows of a map, and kernels that reach so many pixels to each side."""
    return RowScratch(row=(width + 2 * reach) * min(channels, LANES) + LANES, tail=LANES)


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def total(layout: ForwardScratch | BackwardScratch | RowScratch) -> int:
    """Number of float32 that hold every array, wherever the memory starts."""
    return LANES + sum(round_up(size, LANES) for size in layout)


def carve(memory: np.ndarray, layout: Scratch) -> Scratch:
    """The layout's arrays in `memory`. Each starts at a cache line: vectors that straddle two cost twice.

    Raises:
        ValueError: they do not fit.
    """
    start = -(memory.ctypes.data // memory.itemsize) % LANES
    arrays = []
    for size in layout:
        arrays.append(memory[start : start + size])
        start += round_up(size, LANES)
    if start > len(memory):
        raise ValueError(f"scratch memory: got {len(memory)} float32, wanted {total(layout)} for {layout}")
    return type(layout)(*arrays)
