"""nnUNetv2_predict and its options, and nnUNetPredictor from Python, against the network called directly."""

import itertools

import numpy as np
import pytest
import SimpleITK
import torch
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from helpers.nnunet_home import SIZES, read_volume
from helpers.nnunet_scenarios import SIZE
from nnunet_mamba import trainers

TRAINER = "SliceMambaTrainer"
LARGER = (2, 52, 70)  # than a patch: several tiles, which overlap


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    generator = np.random.default_rng(5)
    for name, size in (("larger", LARGER), ("patch", (1, *SIZE[1:])), ("smaller", (1, 30, 33))):
        volume = SimpleITK.GetImageFromArray(generator.normal(size=size).astype(np.float32))
        volume.SetSpacing((1.0, 1.0, 3.0))
        SimpleITK.WriteImage(volume, str(folder / f"{name}_0000.nii.gz"))
    return folder


def network_of(trainer):
    asked = {"patch_size": SIZE[1:], "architecture": {}, "slicemamba": SIZES}
    build = getattr(trainers, trainer).build_network_architecture
    return build(None, ConfigurationManager(asked), 1, 3, False)


def directly(network, folder, image, mirrored, step_size):
    """Probabilities (3, Z, Y, X) in float32: normalised image, tiles with Gaussian weights, mirrored if `mirrored`."""
    from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

    checkpoint = torch.load(folder / "checkpoint_final.pth", weights_only=False)
    patch = SIZE[1:]
    network.eval().load_state_dict(checkpoint["network_weights"], strict=True)
    axes = [flip for count in range(3 if mirrored else 1) for flip in itertools.combinations((2, 3), count)]
    weight = compute_gaussian(
        patch, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu")
    )
    image = torch.from_numpy((image - image.mean()) / image.std())[:, None]
    size = image.shape[2:]
    missing = [max(0, wanted - length) for wanted, length in zip(patch, size)]
    before = [length // 2 for length in missing]
    image = torch.nn.functional.pad(image, (before[1], missing[1] - before[1], before[0], missing[0] - before[0]))
    summed = torch.zeros(len(image), 3, *image.shape[2:])
    weights = torch.zeros(image.shape[2:])
    for y, x in itertools.product(*compute_steps_for_sliding_window(image.shape[2:], patch, step_size)):
        tile = slice(y, y + patch[0]), slice(x, x + patch[1])
        with torch.inference_mode():
            logits = [network(image[(..., *tile)].flip(flip)).flip(flip) for flip in axes]
        summed[(..., *tile)] += torch.stack(logits).mean(0) * weight
        weights[tile] += weight
    inside = [slice(start, start + length) for start, length in zip(before, size)]
    return (summed / weights).softmax(1)[(..., *inside)].transpose(0, 1).numpy()


@pytest.mark.parametrize(
    ("trainer", "options", "mirrored", "step_size"),
    [
        ("SliceMambaTrainer", (), True, 0.5),
        pytest.param("DermoMambaTrainer", ("--disable_tta",), False, 0.5, marks=pytest.mark.exhaustive),
        ("DAMambaTrainer", ("--disable_tta", "-step_size", 1), False, 1),
    ],
    ids=lambda value: " ".join(map(str, value)) or "default" if isinstance(value, tuple) else None,
)
def test_options(scenarios, images, tmp_path, trainer, options, mirrored, step_size):
    fold = scenarios.trained("labels", trainer)
    scenarios.predict("labels", trainer, images, tmp_path, "--save_probabilities", *options)
    for file in sorted(images.iterdir()):
        name = file.name.removesuffix("_0000.nii.gz")
        probabilities = np.load(tmp_path / f"{name}.npz")["probabilities"]
        # nnU-Net weighs and sums logits in float16, with few digits left in the corners of its Gaussian
        wanted = directly(network_of(trainer), fold, read_volume(file), mirrored, step_size)
        np.testing.assert_allclose(probabilities, wanted, atol=2e-2)
        np.testing.assert_array_equal(read_volume(tmp_path / f"{name}.nii.gz"), probabilities.argmax(0))


def test_continue_prediction_makes_what_is_missing(scenarios, images, tmp_path):
    scenarios.trained("labels", TRAINER)
    options = "--disable_tta", "-step_size", 1
    scenarios.predict("labels", TRAINER, images, tmp_path, *options)
    missing, kept = tmp_path / "smaller.nii.gz", tmp_path / "larger.nii.gz"
    made = missing.read_bytes()
    missing.unlink()
    kept.write_bytes(b"of the user")
    scenarios.predict("labels", TRAINER, images, tmp_path, *options, "--continue_prediction")
    assert missing.read_bytes() == made and kept.read_bytes() == b"of the user"


def test_python_predictor_equals_the_command(scenarios, images, tmp_path):
    fold = scenarios.trained("labels", TRAINER)
    scenarios.predict("labels", TRAINER, images, tmp_path, "--disable_tta")
    scenarios.command(
        "nnUNetv2_predict_from_modelfolder", "-m", fold.parent, "-f", 0, "-i", images, "-o", tmp_path / "modelfolder",
        "--disable_tta", "-device", "cpu", "-npp", 1, "-nps", 1,
    )  # fmt: skip
    files = sorted(images.iterdir())
    single, together = scenarios.call(
        "helpers.nnunet_home:predict_from_python", fold.parent, files, use_mirroring=False
    )
    for file, one, other in zip(files, single, together, strict=True):
        name = file.name.replace("_0000", "")
        wanted = read_volume(tmp_path / name)
        for got in (one, other, read_volume(tmp_path / "modelfolder" / name)):
            np.testing.assert_array_equal(got, wanted)
