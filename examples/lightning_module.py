"""SliceMamba in a LightningModule: `pip install pytorch-lightning` first."""

import pytorch_lightning as lightning
import torch
from torch.utils.data import DataLoader, TensorDataset

from nnunet_mamba.losses import GuideFusionLoss
from nnunet_mamba.networks import SliceMamba


class Segmentation(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        sizes = {"dims": (24, 48, 96, 192), "depths": (1, 1, 2, 1), "depths_decoder": (1, 1, 1, 1)}  # the paper's: 4x
        self.network = SliceMamba(in_channels=1, num_classes=2, slicing=[(2, 4)] * 9, **sizes)
        self.loss_function = GuideFusionLoss()

    def training_step(self, batch, index):
        images, target = batch
        loss = self.loss_function(self.network(images), target)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, index):
        images, target = batch
        predicted = self.network(images).argmax(1, keepdim=True)
        self.log("dice", 2 * (predicted * target).sum() / (predicted + target).sum())

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def squares(count, size):
    """Noise in which a bright square is to be found: images (B, 1, H, W) and integer labels (B, 1, H, W)."""
    labels = torch.zeros(count, 1, size, size, dtype=torch.int64)
    for label, (row, column) in zip(labels, torch.randint(size // 2, (count, 2))):
        label[:, row : row + size // 2, column : column + size // 2] = 1
    return TensorDataset(torch.randn(labels.shape) + labels, labels)


def main(epochs=5, images=200, size=64):
    trainer = lightning.Trainer(max_epochs=epochs, logger=False, enable_checkpointing=False)
    trainer.fit(Segmentation(), DataLoader(squares(images, size), 8, shuffle=True), DataLoader(squares(16, size), 8))
    return trainer.callback_metrics["dice"].item()


if __name__ == "__main__":
    print(f"Dice of new images: {main():.3f}")
