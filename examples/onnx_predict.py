"""nnU-Net's prediction of a PNG with an exported ONNX file: onnxruntime, NumPy and Pillow only.

    python onnx_predict.py model.onnx image.png labels.png

For 2-D models of natural images. The file says how to normalise, its patch size, its labels and how to mirror.
"""

import json
import sys
from itertools import chain, combinations

import numpy as np
import onnxruntime
from PIL import Image


def normalised(image, meta):
    """(C, H, W), per channel as in training."""
    result = np.empty(image.shape, np.float32)
    for number, (x, scheme) in enumerate(zip(image.astype(np.float32), meta["normalization"])):
        if meta["normalization_in_foreground_only"][number]:
            raise SystemExit("this example does not normalise within a mask of the foreground")
        if scheme == "ZScoreNormalization":
            x = (x - x.mean()) / max(x.std(), 1e-8)
        elif scheme == "RGBTo01Normalization":
            x = x / 255
        elif scheme == "RescaleTo01Normalization":
            x = (x - x.min()) / max((x - x.min()).max(), 1e-8)
        elif scheme == "CTNormalization":
            known = meta["intensities"][str(number)]
            x = np.clip(x, known["percentile_00_5"], known["percentile_99_5"])
            x = (x - known["mean"]) / max(known["std"], 1e-8)
        elif scheme != "NoNormalization":
            raise SystemExit(f"this example does not know {scheme}")
        result[number] = x
    return result


def cropped(image):
    """The box of what is not zero in any channel, as slices: nnU-Net sees only that."""
    filled = (image != 0).any(axis=0)
    if not filled.any():
        return slice(None), slice(None)
    return tuple(slice(int(np.flatnonzero(line)[0]), int(np.flatnonzero(line)[-1]) + 1)
                 for line in (filled.any(axis=1), filled.any(axis=0)))  # fmt: skip


def starts(length, patch, step=0.5):
    """Where the windows begin along an axis: evenly, at most `step` patches apart."""
    count = int(np.ceil((length - patch) / (patch * step))) + 1
    return [int(np.round(i * (length - patch) / max(count - 1, 1))) for i in range(count)]


def importance(patch):
    """Weights of a window: a Gaussian around its centre, an eighth of the patch wide."""
    axes = [np.exp(-0.5 * ((np.arange(n) - n // 2) / (n / 8)) ** 2) for n in patch]
    weights = np.multiply.outer(*axes)
    weights /= weights.max() / 10
    return np.maximum(weights, weights[weights > 0].min()).astype(np.float32)


def logits_of(session, image, meta):
    """(K, H, W) of a normalised image of any size, window by window, each also mirrored."""
    patch = meta["patch_size"]
    missing = [max(0, n - size) for n, size in zip(patch, image.shape[1:])]
    before = [n // 2 for n in missing]
    padded = np.pad(image, [(0, 0), *((n, m - n) for n, m in zip(before, missing))])
    axes = meta["mirroring_axes"]
    flips = list(chain.from_iterable(combinations([a + 2 for a in axes], n) for n in range(len(axes) + 1)))
    weights, total, weighed = importance(patch), 0, np.zeros(padded.shape[1:], np.float32)
    for y in starts(padded.shape[1], patch[0]):
        for x in starts(padded.shape[2], patch[1]):
            window = (..., slice(y, y + patch[0]), slice(x, x + patch[1]))
            tile = padded[window][None]
            batch = np.concatenate([np.flip(tile, axes) for axes in flips])  # as one batch
            (out,) = session.run(None, {"image": batch})
            mean = sum(np.flip(one[None], axes) for one, axes in zip(out, flips))[0] / len(flips)
            if weighed.max() == 0:
                total = np.zeros((len(mean), *padded.shape[1:]), np.float32)
            total[window] += mean * weights
            weighed[window] += weights
    height, width = image.shape[1:]
    return (total / weighed)[:, before[0] : before[0] + height, before[1] : before[1] + width]


def labels_of(logits, meta):
    """(H, W): the class with the largest logit; or the regions, painted over each other in their order."""
    order = meta["regions_class_order"]
    if order is None:
        return logits.argmax(axis=0).astype(np.uint8)
    labels = np.zeros(logits.shape[1:], np.uint8)
    for region, label in zip(logits, order):
        labels[region > 0] = label
    return labels


def main(model, picture):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    meta = json.loads(session.get_modelmeta().custom_metadata_map["nnunet_mamba"])
    mode = "RGB" if len(meta["channel_names"]) == 3 else "L"
    image = np.atleast_3d(np.asarray(Image.open(picture).convert(mode))).transpose(2, 0, 1)
    rows, columns = cropped(image)
    labels = np.zeros(image.shape[1:], np.uint8)
    labels[rows, columns] = labels_of(logits_of(session, normalised(image[:, rows, columns], meta), meta), meta)
    return labels


if __name__ == "__main__":
    model, picture, output = sys.argv[1:]
    Image.fromarray(main(model, picture)).save(output)
