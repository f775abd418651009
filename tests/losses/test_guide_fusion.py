"""The Guide Fusion loss: recorded values, exact distances, forms of target, edge cases, and the errors."""

import pytest
import torch

from helpers.recorded import arrays
from nnunet_mamba.losses import GuideFusionLoss, boundary_attention

attend = boundary_attention.boundary_attention
GUIDANCES = ("mean", "pixel")


def labels(*shape, classes=2, seed=0):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


def square(size=16, low=4, high=10):
    target = torch.zeros(1, 1, size, size, dtype=torch.long)
    target[..., low:high, low:high] = 1
    return target


@pytest.mark.parametrize("case", [0, 1, 2])
def test_recorded_values_and_gradients(case):
    numbers = arrays("guide_fusion_loss")
    logits, target = numbers[f"logits{case}"].requires_grad_(), numbers[f"target{case}"]
    torch.testing.assert_close(attend(target), numbers[f"attention{case}"], rtol=1e-5, atol=1e-6)
    loss = GuideFusionLoss("mean")(logits, target)
    loss.backward()
    assert loss.item() == pytest.approx(numbers[f"loss{case}"].item(), abs=1e-5)
    torch.testing.assert_close(logits.grad, numbers[f"grad{case}"], rtol=1e-4, atol=1e-7)


def brute_force(mask, known):
    """Distance from every pixel that is known to the nearest of the other value that is."""
    places = (
        torch.stack(torch.meshgrid(*(torch.arange(n) for n in mask.shape), indexing="ij"), dim=-1)
        .view(-1, mask.dim())
        .double()
    )
    between = torch.cdist(places, places)
    other = (mask.flatten()[:, None] != mask.flatten()[None]) & known.flatten()[None]
    return between.masked_fill(~other, float("inf")).amin(1).view(mask.shape)[known].float()


@pytest.mark.parametrize("engine", ["_by_scipy", "distance_to_nearest"])
@pytest.mark.parametrize("shape", [(1, 9), (7, 1), (12, 17), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
@pytest.mark.parametrize("ignored", [0, 0.3])
def test_distances_are_exact_by_either_engine(monkeypatch, engine, shape, share, ignored):
    monkeypatch.setattr(boundary_attention, "_by_scipy", getattr(boundary_attention, engine))
    torch.manual_seed(0)
    mask, known = torch.rand(shape) < share, torch.rand(shape) >= ignored
    mask.view(-1)[0], mask.view(-1)[-1] = True, False
    known.view(-1)[0] = known.view(-1)[-1] = True
    attention = attend(mask[None, None].float(), known[None, None].float())[0, 0]
    torch.testing.assert_close(1 / attention[known] - 1, brute_force(mask, known), rtol=1e-4, atol=1e-4)


def test_the_search_for_distances_goes_slab_by_slab(monkeypatch):
    goal = torch.rand(2, 20, 30) < 0.1
    wanted = boundary_attention.distance_to_nearest(goal)
    monkeypatch.setattr(boundary_attention, "MOST", 3 * goal.numel())
    assert torch.equal(boundary_attention.distance_to_nearest(goal), wanted)


@pytest.mark.parametrize("engine", ["_by_scipy", "distance_to_nearest"])
@pytest.mark.parametrize("value", [0, 1])
def test_a_map_of_one_value_has_the_distance_of_its_diagonal(monkeypatch, engine, value):
    """Whatever the other maps hold; and where nothing is known it is finite."""
    monkeypatch.setattr(boundary_attention, "_by_scipy", getattr(boundary_attention, engine))
    truth = torch.cat([torch.full((1, 1, 3, 4), value), torch.tensor([0, 0, 1, 1]).expand(1, 1, 3, 4)])
    torch.testing.assert_close(attend(truth)[0], torch.full((1, 3, 4), 1 / (1 + 5)))
    torch.testing.assert_close(attend(truth)[1, 0, 0], torch.tensor([1 / 3, 1 / 2, 1 / 2, 1 / 3]))
    assert (attend(truth, torch.zeros(2, 1, 3, 4)) <= 1).all()


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_many_images_without_the_class_do_not_drown_one_with_it(guidance):
    """A batch of patches with a rare organ, `batch_dice`: a small object found well, and a few false positives."""
    target = torch.cat([square(64, 28, 36), torch.zeros(10, 1, 64, 64, dtype=torch.long)])
    logits = torch.where(target == 1, 0.9, 0.02).logit().requires_grad_()
    loss = GuideFusionLoss(guidance)(logits, target)
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target.float())
    assert loss - cross_entropy < 0.5


def test_images_and_classes_have_distances_of_their_own():
    one, other = labels(1, 1, 12, 12, classes=3, seed=1), labels(1, 1, 12, 12, classes=3, seed=2)
    logits = torch.randn(2, 3, 12, 12)
    loss = GuideFusionLoss(batch_dice=False)
    together = loss(logits, torch.cat([one, other]))
    torch.testing.assert_close(together, (loss(logits[:1], one) + loss(logits[1:], other)) / 2)


def test_pixel_guidance_looks_at_the_boundary():
    """The same one-pixel mistake costs more beside the boundary than far from it; under the mean it costs the same."""
    target = square()
    costs = {}
    for guidance in GUIDANCES:
        for place in ((3, 6), (15, 15)):
            logits = 20.0 * (2 * target - 1)
            logits[0, 0, place[0], place[1]] = 20
            costs[guidance, place] = GuideFusionLoss(guidance)(logits, target).item()
    assert costs["pixel", (3, 6)] > costs["pixel", (15, 15)] + 1e-3
    assert costs["mean", (3, 6)] == pytest.approx(costs["mean", (15, 15)], abs=1e-6)


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_softmax_of_two_classes_is_the_sigmoid_of_their_difference(guidance):
    logits, target = torch.randn(2, 2, 8, 8), labels(2, 1, 8, 8)
    loss = GuideFusionLoss(guidance)
    torch.testing.assert_close(loss(logits, target), loss(logits[:, 1:] - logits[:, :1], target))


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_regions_are_averaged(guidance):
    logits, target = torch.randn(2, 3, 8, 8), labels(2, 3, 8, 8)
    loss = GuideFusionLoss(guidance)
    each = [loss(logits[:, i : i + 1], target[:, i : i + 1]) for i in range(3)]
    torch.testing.assert_close(loss(logits, target), torch.stack(each).mean())


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("form", ["classes", "one channel", "regions"])
def test_ignored_pixels_get_no_gradient_and_others_one(guidance, batch_dice, form):
    if form == "regions":
        logits = torch.randn(2, 3, 8, 8)
        target = torch.cat([labels(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.long)], dim=1)
        target[:, 3, :, 4:] = 1
    else:
        logits, target = torch.randn(2, 3 if form == "classes" else 1, 8, 8), labels(2, 1, 8, 8)
        target[..., 4:] = 3
    logits.requires_grad_()
    GuideFusionLoss(guidance, batch_dice, ignore_label=3)(logits, target).backward()
    assert not logits.grad[..., 4:].any() and logits.grad[..., :4].all()


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_where_labels_end_there_is_no_boundary(guidance):
    """The loss equals the loss of the labelled part only."""
    logits, target = torch.randn(2, 3, 8, 8), labels(2, 1, 8, 8, classes=3)
    masked = target.clone()
    masked[..., 4:] = 3
    wanted = GuideFusionLoss(guidance)(logits[..., :4], target[..., :4])
    torch.testing.assert_close(GuideFusionLoss(guidance, ignore_label=3)(logits, masked), wanted)


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("value", [0, 1])
def test_maps_without_a_boundary_are_finite_and_teach(guidance, batch_dice, value):
    logits = torch.randn(2, 1, 8, 8, requires_grad=True)
    target = torch.full((2, 1, 8, 8), value)
    loss = GuideFusionLoss(guidance, batch_dice)(logits, target)
    loss.backward()
    assert loss.isfinite() and (logits.grad > 0).all() == (value == 0) and (logits.grad < 0).all() == (value == 1)


@pytest.mark.parametrize("guidance", GUIDANCES)
def test_everything_ignored_is_finite(guidance):
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = GuideFusionLoss(guidance, ignore_label=2)(logits, torch.full((1, 1, 4, 4), 2))
    loss.backward()
    assert loss.isfinite() and not logits.grad.any()


def test_prepared_attention_is_the_same_and_is_used_once():
    logits, target = torch.randn(2, 3, 16, 16), labels(2, 1, 16, 16, classes=3)
    loss = GuideFusionLoss()
    wanted = loss(logits, target)
    loss.prepare(target, 3)
    assert len(loss._prepared) == 1
    assert torch.equal(loss(logits, target), wanted)
    assert not loss._prepared


def test_half_precision_is_computed_in_float32():
    logits, target = torch.randn(1, 1, 16, 16) * 1e4, square()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = GuideFusionLoss()(logits.bfloat16(), target)
    assert loss.dtype == torch.float32 and loss.isfinite()


@pytest.mark.parametrize(
    ("logits", "target", "message"),
    [
        ((1, 2, 8, 8), torch.zeros(1, 1, 8, 9), r"target: got shape \(1, 1, 8, 9\) for logits \(1, 2, 8, 8\)"),
        ((1, 2, 8, 8), torch.full((1, 1, 8, 8), 2), "target: got the value 2, wanted 0 to 1"),
    ],
)
def test_wrong_targets_are_named(logits, target, message):
    with pytest.raises(ValueError, match=message):
        GuideFusionLoss()(torch.randn(logits), target)


def test_unknown_guidance_is_named():
    with pytest.raises(ValueError, match="guidance: got 'edge', wanted one of mean, pixel"):
        GuideFusionLoss("edge")
