"""The ASFM loss: recorded values, its forms of target, its behaviour at the edges, and the errors."""

import pytest
import torch
from torch import nn

from helpers.recorded import arrays
from nnunet_mamba.losses import ASFMLoss

PUBLISHED = {"index": "product", "cross_entropy": 0}


def labels(*shape, classes=2, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("case", [0, 1, 2])
def test_recorded_values_and_gradients(case):
    numbers = arrays("asfm_loss")
    logits = numbers[f"logits{case}"].requires_grad_()
    loss = ASFMLoss()(logits, numbers[f"target{case}"])
    loss.backward()
    assert loss.item() == pytest.approx(numbers[f"loss{case}"].item(), abs=1e-5)
    torch.testing.assert_close(logits.grad, numbers[f"grad{case}"], rtol=1e-4, atol=1e-7)


def test_false_positives_cost_where_the_class_is_absent():
    """There the published formula gives 0 and no gradient, whatever is predicted (recorded as case 3)."""
    numbers = arrays("asfm_loss")
    assert not numbers["target3"].any() and numbers["loss3"] == 0 and not numbers["grad3"].any()
    logits = numbers["logits3"].requires_grad_()
    loss = ASFMLoss()(logits, numbers["target3"])
    loss.backward()
    assert loss > 0.3
    assert (logits.grad > 0).all()  # every pixel is pushed down
    assert ASFMLoss()(torch.full_like(logits, -20), numbers["target3"]) < 1e-4


@pytest.mark.parametrize("alpha", [0.25, 1.0])
def test_formula_on_hard_counts(alpha):
    """TP 2, FP 1, FN 2: M = 4 / (3 * 4)."""
    target = torch.tensor([1, 1, 1, 1, 0, 0]).view(1, 1, 2, 3)
    logits = torch.tensor([1.0, 1, -1, -1, 1, -1]).view(1, 1, 2, 3) * 100
    wanted = 2 * (1 - 1 / 3) / (1 + torch.exp(torch.tensor(-alpha / 3)))
    torch.testing.assert_close(ASFMLoss(alpha=alpha)(logits, target), wanted)


def test_softmax_of_two_classes_is_the_sigmoid_of_their_difference():
    logits, target = torch.randn(2, 2, 8, 8), labels(2, 1, 8, 8)
    torch.testing.assert_close(ASFMLoss()(logits, target), ASFMLoss()(logits[:, 1:] - logits[:, :1], target))


def test_background_is_left_out():
    target = labels(2, 1, 8, 8, classes=3)
    probabilities = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).float()
    assert ASFMLoss()(probabilities * 60, target) < 1e-4
    wrong = probabilities[:, [0, 2, 1]]  # both foreground classes wrong, background right
    assert ASFMLoss()(wrong * 60, target) > 0.99


def test_regions_are_averaged():
    logits = torch.randn(2, 3, 8, 8)
    target = labels(2, 3, 8, 8)
    each = [ASFMLoss()(logits[:, i : i + 1], target[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(ASFMLoss(**PUBLISHED)(logits, target), torch.stack(each).mean())


@pytest.mark.parametrize("form", ["classes", "regions"])
def test_several_classes_take_the_root_and_cross_entropy(form):
    logits = torch.randn(2, 3, 8, 8)
    if form == "classes":
        target = labels(2, 1, 8, 8, classes=3)
        pixels = nn.functional.cross_entropy(logits, target[:, 0])
    else:
        target = labels(2, 3, 8, 8)
        pixels = nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    root = ASFMLoss(index="root", cross_entropy=0)(logits, target)
    torch.testing.assert_close(ASFMLoss()(logits, target), root + pixels)
    torch.testing.assert_close(ASFMLoss(cross_entropy=0.5)(logits, target), root + 0.5 * pixels)


def test_one_class_takes_the_published_formula():
    logits, target = torch.randn(2, 2, 8, 8), labels(2, 1, 8, 8)
    assert ASFMLoss()(logits, target) == ASFMLoss(**PUBLISHED)(logits, target)
    assert ASFMLoss()(logits, target) < ASFMLoss(cross_entropy=1)(logits, target)


def test_the_root_on_hard_counts():
    """TP 2, FP 1, FN 2: the Fowlkes-Mallows index is 2 / sqrt(3 * 4)."""
    target = torch.tensor([1, 1, 1, 1, 0, 0]).view(1, 1, 2, 3)
    logits = torch.tensor([1.0, 1, -1, -1, 1, -1]).view(1, 1, 2, 3) * 100
    index = torch.tensor(1 / 3).sqrt()
    wanted = 2 * (1 - index) / (1 + torch.exp(-0.25 * index))
    torch.testing.assert_close(ASFMLoss(index="root")(logits, target), wanted)


def test_an_unknown_index_is_named():
    with pytest.raises(ValueError, match="index: got 'dice', wanted one of product, root, or None"):
        ASFMLoss(index="dice")


def discs(count, generator):
    """Noise with one disc of 10, 3 and 1 % of the pixels, each in a colour of its own: images and labels."""
    images, target = torch.randn(count, 3, 48, 48, generator=generator) / 2, torch.zeros(count, 1, 48, 48)
    rows = torch.arange(48.0)[:, None]
    for image, label in zip(images, target[:, 0]):
        for number, share in enumerate((0.1, 0.03, 0.01)):
            radius = (share * 48**2 / torch.pi) ** 0.5
            y, x = radius + (48 - 2 * radius) * torch.rand(2, generator=generator)
            disc = (rows - y).square() + (rows.T - x).square() <= radius**2
            image[number, disc] += 1.2
            label[disc] = number + 1
    return images, target.long()


def dice_after_training(loss):
    """Of the three classes, after 150 steps of a small network on `discs`."""

    def layer(before, after, dilation):
        return (
            nn.Conv2d(before, after, 3, padding=dilation, dilation=dilation),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        )

    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(*layer(3, 16, 1), *layer(16, 16, 2), nn.Conv2d(16, 4, 1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(150):
        images, target = discs(8, generator)
        optimizer.zero_grad()
        loss(network(images), target).backward()
        optimizer.step()
    images, target = discs(32, generator)
    with torch.inference_mode():
        predicted = network.eval()(images).argmax(1, keepdim=True)
    pairs = [(predicted == label, target == label) for label in (1, 2, 3)]
    return [(2 * (got & true).sum() / (got.sum() + true.sum())).item() for got, true in pairs]


def test_no_class_is_lost():
    assert min(dice_after_training(ASFMLoss())) > 0.5
    assert min(dice_after_training(ASFMLoss(**PUBLISHED))) < 0.2  # the test would notice


@pytest.mark.parametrize("form", ["classes", "one channel", "regions"])
def test_ignored_pixels_do_not_count(form):
    batch_dice = form != "classes"
    if form == "regions":
        logits, target = torch.randn(2, 3, 8, 8), labels(2, 3, 8, 8)
        ignore = torch.zeros(2, 1, 8, 8, dtype=torch.long)
        ignore[..., 4:] = 1
        masked = torch.cat([target, ignore], dim=1)
    else:
        logits, target = torch.randn(2, 3 if form == "classes" else 1, 8, 8), labels(2, 1, 8, 8)
        masked = target.clone()
        masked[..., 4:] = 3
    logits.requires_grad_()
    loss = ASFMLoss(batch_dice=batch_dice, ignore_label=3)(logits, masked)
    torch.testing.assert_close(loss, ASFMLoss(batch_dice=batch_dice)(logits[..., :4], target[..., :4]))
    loss.backward()
    assert not logits.grad[..., 4:].any()


def test_everything_ignored_is_finite():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = ASFMLoss(ignore_label=2)(logits, torch.full((1, 1, 4, 4), 2))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


def test_batch_dice_pools_the_batch_and_its_absence_averages_images():
    logits, target = torch.randn(2, 1, 8, 8), labels(2, 1, 8, 8)
    target[1] = 0
    each = torch.stack([ASFMLoss()(logits[i : i + 1], target[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(ASFMLoss(batch_dice=False)(logits, target), each.mean())
    joined = ASFMLoss()(logits.reshape(1, 1, 16, 8), target.reshape(1, 1, 16, 8))
    torch.testing.assert_close(ASFMLoss(batch_dice=True)(logits, target), joined)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    """A million foreground pixels: their count's square is beyond half precision."""
    logits = torch.full((1, 1, 1024, 1024), 1.0, dtype=dtype, requires_grad=True)
    target = torch.ones(1, 1, 1024, 1024, dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ASFMLoss()(logits, target)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, ASFMLoss()(logits.float(), target))
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("logit", [1e6, -1e6])
def test_huge_logits_are_finite(logit):
    logits = torch.full((1, 2, 4, 4), logit, requires_grad=True)
    loss = ASFMLoss()(logits, labels(1, 1, 4, 4))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        ((2, 3, 8, 8), torch.zeros(2, 1, 8, 7), r"target: got shape \(2, 1, 8, 7\) for logits \(2, 3, 8, 8\)"),
        ((2, 3, 8, 8), torch.zeros(1, 1, 8, 8), "wanted .* of the same batch and size"),
        ((2, 3, 8, 8), torch.zeros(2, 8, 8), "target: got shape"),
        ((2, 3, 8, 8), torch.zeros(2, 4, 8, 8), "target: got shape"),
        ((2, 3, 8, 8), torch.full((2, 1, 8, 8), 3), "target: got the value 3, wanted 0 to 2"),
        ((2, 3, 8, 8), torch.full((2, 1, 8, 8), -1), "target: got the value -1, wanted 0 to 2"),
        ((2, 1, 8, 8), torch.full((2, 1, 8, 8), 2), "target: got the value 2, wanted 0 to 1"),
        ((2, 3, 8, 8), torch.full((2, 3, 8, 8), 2), "target: got the value 2, wanted 0 to 1"),
    ],
    ids=range(8),
)
def test_bad_targets(logits, target, message):
    with pytest.raises(ValueError, match=message):
        ASFMLoss()(torch.zeros(logits), target)
