"""The CPU kernels of layer norms over 2, 4, 8 or 16 channels: a vector holds all channels of one or more positions.

Numba's disk cache only notices changes in this file: after editing _simd.py or _cpu_scratch.py, touch it.
"""

# mypy: disable-error-code="call-arg, var-annotated"
# Numba's intrinsics take fewer arguments in a kernel than where they are defined.

from nnunet_mamba.ops._cpu_panels import jit
from nnunet_mamba.ops._cpu_scratch import LANES
from nnunet_mamba.ops._simd import flush_denormals, fma, group_sums, load, restore_denormals, splat, sqrt, store


@jit
def norm(x, channels, eps):
    """x minus the mean of its position, over the deviation; and the inverse of that."""
    share = splat(1.0 / len(channels))
    centred = x - group_sums(x, channels) * share
    scale = splat(1.0) / sqrt(fma(group_sums(centred * centred, channels), share, splat(eps)))
    return centred * scale, scale


@jit
def normalise(floats, scratch, channels, eps, x, weights, biases, out):
    """out = norm(x) weight + bias, from the first to before the last of `floats`. Arrays are flat.

    `channels` is a tuple with an item for each. `weights` and `biases` are repeated to fill a vector.
    """
    first, last = floats
    control = flush_denormals()
    tail, weight, bias = scratch.tail, load(weights, 0), load(biases, 0)
    whole = last - (last - first) % LANES
    for at in range(first, whole, LANES):
        store(out, at, fma(norm(load(x, at), channels, eps)[0], weight, bias))
    if whole < last:
        tail[:] = 0
        tail[: last - whole] = x[whole:last]
        store(tail, 0, fma(norm(load(tail, 0), channels, eps)[0], weight, bias))
        out[whole:last] = tail[: last - whole]
    restore_denormals(control)


@jit
def gradients(x, grad, weight, channels, eps):
    """Of x, and grad norm(x)."""
    share = splat(1.0 / len(channels))
    normed, scale = norm(x, channels, eps)
    dnormed = grad * weight
    mean, along = group_sums(dnormed, channels) * share, group_sums(dnormed * normed, channels) * share
    return (dnormed - mean - normed * along) * scale, grad * normed


@jit
def normalise_back(floats, scratch, channels, eps, x, weights, grad, dx, sums, unit):
    """The gradients of `normalise`. `sums` has two vectors for each range of floats: of the weights, of the biases."""
    first, last = floats
    control = flush_denormals()
    tail, row, weight = scratch.tail, scratch.row, load(weights, 0)
    dweights = dbiases = splat(0.0)
    whole = last - (last - first) % LANES
    for at in range(first, whole, LANES):
        g = load(grad, at)
        dx_t, dweight = gradients(load(x, at), g, weight, channels, eps)
        store(dx, at, dx_t)
        dweights, dbiases = dweights + dweight, dbiases + g
    if whole < last:
        tail[:] = 0
        row[:] = 0
        tail[: last - whole] = x[whole:last]
        row[: last - whole] = grad[whole:last]
        g = load(row, 0)
        dx_t, dweight = gradients(load(tail, 0), g, weight, channels, eps)
        store(tail, 0, dx_t)
        dx[whole:last] = tail[: last - whole]
        dweights, dbiases = dweights + dweight, dbiases + g
    store(sums, 2 * unit * LANES, dweights)
    store(sums, (2 * unit + 1) * LANES, dbiases)
    restore_denormals(control)
