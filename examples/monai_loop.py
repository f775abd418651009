"""DermoMamba with MONAI's transforms, losses, sliding window and Dice: `pip install monai` first."""

import torch
from monai.data import DataLoader, Dataset, create_test_image_2d
from monai.inferers import SlidingWindowInferer
from monai.losses import DeepSupervisionLoss, DiceCELoss
from monai.metrics import DiceMetric
from monai.transforms import Compose, EnsureChannelFirstd, NormalizeIntensityd, RandSpatialCropd

from nnunet_mamba.networks import DermoMamba


def loader(count, size, transforms, batch_size):
    """Images and masks of MONAI's discs, as MetaTensors."""
    pairs = [create_test_image_2d(*size, num_objs=4, rad_max=12, num_seg_classes=1) for _ in range(count)]
    first = EnsureChannelFirstd(["image", "mask"], channel_dim="no_channel")
    transforms = Compose([first, NormalizeIntensityd("image"), *transforms])
    return DataLoader(Dataset([{"image": x, "mask": y} for x, y in pairs], transforms), batch_size)


def main(epochs=5, images=40, size=(80, 120), patch=(64, 64)):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = DermoMamba(in_channels=1, num_classes=2, input_size=patch, deep_supervision=True).to(device)
    loss_function = DeepSupervisionLoss(DiceCELoss(to_onehot_y=True, softmax=True))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    crops = loader(images, size, [RandSpatialCropd(["image", "mask"], patch, random_size=False)], batch_size=4)
    for epoch in range(epochs):
        for batch in crops:
            # MONAI resizes the target for the deeper outputs, which works for bytes and floats, not for int64
            loss = loss_function(network(batch["image"].to(device)), batch["mask"].to(device, torch.uint8))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")

    network.eval()
    network.deep_supervision = False
    infer, metric = SlidingWindowInferer(patch, overlap=0.5, mode="gaussian"), DiceMetric(include_background=False)
    with torch.inference_mode():
        for batch in loader(4, size, [], batch_size=1):
            predicted = infer(batch["image"].to(device), network).argmax(1, keepdim=True)
            metric(predicted, batch["mask"].to(device))
    dice = metric.aggregate().item()
    print(f"Dice of new images: {dice:.3f}")
    return dice


if __name__ == "__main__":
    main()
