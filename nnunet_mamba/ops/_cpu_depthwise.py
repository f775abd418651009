"""The CPU kernels of depthwise convolutions and of their weight gradients: products of two maps, one of them shifted.

A vector has 16 channels of a pixel, or a row's neighbouring pixels if a pixel has fewer. For each row of taps, a row of
the map is read once per tap, from a copy between zeros. What the taps or the pixels share stays in registers.

Numba's disk cache only notices changes in this file: after editing _simd.py or _cpu_scratch.py, touch it.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_panels import jit, round_up
from nnunet_mamba.ops._cpu_scratch import LANES
from nnunet_mamba.ops._simd import add_products, add_shifted, flush_denormals, load, restore_denormals, splat, store


@jit
def row_sizes(width, channels):
    """Of a row of a map: its blocks of channels, the vectors of a block, their stride, and the floats after these."""
    line = width * channels
    if channels < LANES:
        return 1, line // LANES, LANES, line % LANES
    return round_up(channels, LANES) // LANES, width, channels, 0


@jit
def copy_row(x, start, width, channels, row, margin):
    """A block of 16 channels, or all of fewer, of a row of the map: `row` from `margin` on has nothing in between."""
    if channels < LANES:
        size = width * channels
        row[margin : margin + size] = x[start : start + size]
    else:
        for i in range(width):
            store(row, margin + i * LANES, load(x, start + i * channels))


@jit
def add_row(source, start, stride, size, target, to):
    """target[to : to + 16] += the sum of `size` vectors of the source, each `stride` floats after the one before."""
    total0 = total1 = total2 = total3 = splat(0.0)
    whole = size - size % 4
    for t in range(0, whole, 4):
        at = start + t * stride
        total0 = total0 + load(source, at)
        total1 = total1 + load(source, at + stride)
        total2 = total2 + load(source, at + 2 * stride)
        total3 = total3 + load(source, at + 3 * stride)
    for t in range(whole, size):
        total0 = total0 + load(source, start + t * stride)
    store(target, to, load(target, to) + ((total0 + total1) + (total2 + total3)))


@jit
def correlate(units, scratch, sizes, taps, x, grad, sums):
    """Sums of products of x and `grad`, for some units: from the first to before the last.

    A unit is a part of the rows of an image of x, and the rows of `grad` that they meet. Arrays are flat. `sums` has a
    vector for each unit, tap and block of channels, and after a unit's taps the sum of `grad`. It starts as zeros. A
    row's tap i reads a row of x `taps[i]` floats after the start of its zeros.
    """
    first, last = units
    height, width, channels, kernel_height, dilation, parts = sizes
    control = flush_denormals()
    row, tail = scratch.row, scratch.tail
    blocks, whole, stride, rest = row_sizes(width, channels)
    columns, line = len(taps), width * channels
    reach, margin = dilation * (kernel_height // 2), taps[columns - 1] // 2
    number, apart = kernel_height * columns, blocks * LANES
    row[:] = 0
    tail[:] = 0
    for unit in range(first, last):
        image, part = unit // parts, unit % parts
        own = unit * (number + 1) * apart
        for y in range(height * part // parts, height * (part + 1) // parts):
            for block in range(blocks):
                channel = max(0, min(block * LANES, channels - LANES))  # the last blocks may overlap
                here = (image * height + y) * line + channel
                copy_row(x, here, width, channels, row, margin)
                for tap_row in range(kernel_height):
                    meets = y + reach - tap_row * dilation
                    if 0 <= meets < height:
                        there = (image * height + meets) * line + channel
                        to = own + tap_row * columns * apart + block * LANES
                        add_products(row, 0, LANES, grad, there, stride, whole, taps, sums, to, apart)
                        if rest:
                            tail[:rest] = grad[there + whole * LANES : there + line]
                            add_products(row, whole * LANES, 0, tail, 0, 0, 1, taps, sums, to, apart)
                to = own + number * apart + block * LANES
                add_row(grad, here, stride, whole, sums, to)
                if rest:
                    tail[:rest] = grad[here + whole * LANES : here + line]
                    add_row(tail, 0, 0, 1, sums, to)
    restore_denormals(control)


@jit
def convolve(units, scratch, sizes, taps, x, weights, bias, y):
    """The rows of y of some units, see `correlate`. Channels are fewer than 16, or a multiple.

    `weights` has a vector for each tap and block of channels, `bias` one for each block.
    """
    first, last = units
    height, width, channels, kernel_height, dilation, parts = sizes
    control = flush_denormals()
    row, tail = scratch.row, scratch.tail
    blocks, whole, stride, rest = row_sizes(width, channels)
    columns, line = len(taps), width * channels
    reach, margin = dilation * (kernel_height // 2), taps[columns - 1] // 2
    apart = blocks * LANES
    row[:] = 0
    tail[:] = 0
    for unit in range(first, last):
        image, part = unit // parts, unit % parts
        top, bottom = height * part // parts, height * (part + 1) // parts
        for there in range(top, bottom):
            for block in range(blocks):
                to, start = (image * height + there) * line + block * LANES, load(bias, block * LANES)
                for i in range(whole):
                    store(y, to + i * stride, start)
                for i in range(whole * LANES, whole * LANES + rest):
                    y[to + i] = bias[i % LANES]
        for here in range(max(0, top - reach), min(height, bottom + reach)):
            for block in range(blocks):
                copy_row(x, (image * height + here) * line + block * LANES, width, channels, row, margin)
                for tap_row in range(kernel_height):
                    there = here + reach - tap_row * dilation
                    if top <= there < bottom:
                        to = (image * height + there) * line + block * LANES
                        at = tap_row * columns * apart + block * LANES
                        add_shifted(row, 0, LANES, taps, weights, at, apart, y, to, stride, whole)
                        if rest:
                            end = to + whole * LANES
                            tail[:rest] = y[end : end + rest]
                            add_shifted(row, whole * LANES, 0, taps, weights, at, apart, tail, 0, 0, 1)
                            y[end : end + rest] = tail[:rest]
    restore_denormals(control)
