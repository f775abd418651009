"""The CPU kernel of the weight gradients of depthwise convolutions: sums of products of two maps, one of them shifted.

A vector has 16 channels of a pixel, or a row's neighbouring pixels if a pixel has fewer. A row of the kernel's taps is
summed in registers along a row of the map.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_panels import jit
from nnunet_mamba.ops._cpu_scratch import LANES
from nnunet_mamba.ops._simd import add_products, flush_denormals, load, restore_denormals, splat, store


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
def correlate(item, scratch, sizes, taps, x, grad, sums):
    """The sums of a WorkItem of ops/depthwise.py: from its first unit to before its last.

    A unit is some rows of an image of x, whole, and the rows of `grad` that they meet. Arrays are flat. `sums` has, for
    each unit, a vector for each tap and block of channels, and one more per block for the sum of `grad`. It starts as
    zeros. `taps` is where each tap of a row reads a row of x, in floats, behind the row's zeros.
    """
    first, last = item
    height, width, channels, kernel_height, dilation, parts = sizes
    control = flush_denormals()
    row, tail = scratch.row, scratch.tail
    columns = len(taps)
    number = kernel_height * columns
    reach = dilation * (kernel_height // 2)
    line = width * channels
    together = channels < LANES  # a vector has the channels of several pixels
    blocks = 1 if together else (channels + LANES - 1) // LANES
    margin = taps[columns - 1] // 2
    stride = LANES if together else channels
    whole = line // LANES if together else width
    rest = line - whole * LANES if together else 0
    row[:] = 0
    tail[:] = 0
    for unit in range(first, last):
        image, part = unit // parts, unit % parts
        own = unit * (number + 1) * blocks * LANES
        for y in range(height * part // parts, height * (part + 1) // parts):
            here = (image * height + y) * line
            for block in range(blocks):
                channel = 0 if together else min(block * LANES, channels - LANES)
                if together:
                    row[margin : margin + line] = x[here : here + line]
                else:
                    for i in range(width):
                        store(row, margin + i * LANES, load(x, here + channel + i * channels))
                for tap_row in range(kernel_height):
                    meets = y + reach - tap_row * dilation
                    if 0 <= meets < height:
                        there = (image * height + meets) * line + channel
                        to = own + (tap_row * columns * blocks + block) * LANES
                        add_products(row, 0, LANES, grad, there, stride, whole, taps, sums, to, blocks * LANES)
                        if rest:
                            tail[:rest] = grad[there + whole * LANES : there + line]
                            add_products(row, whole * LANES, 0, tail, 0, 0, 1, taps, sums, to, blocks * LANES)
                to = own + (number * blocks + block) * LANES
                add_row(grad, here + channel, stride, whole, sums, to)
                if rest:
                    tail[:rest] = grad[here + whole * LANES : here + line]
                    add_row(tail, 0, 0, 1, sums, to)
    restore_denormals(control)
