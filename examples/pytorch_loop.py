"""DA-MambaNet in a plain PyTorch loop, on images that are made here."""

import torch

from nnunet_mamba.losses import ASFMLoss
from nnunet_mamba.networks import DAMambaNet


def draw(count, height, width):
    """Discs on noise: images (B, 3, H, W) and integer labels (B, 1, H, W)."""
    row, column = torch.arange(height)[:, None], torch.arange(width)
    centres = torch.rand(count, 2, 1, 1) * torch.tensor([height, width])[:, None, None]
    labels = (row - centres[:, 0]) ** 2 + (column - centres[:, 1]) ** 2 < (height / 3) ** 2
    return torch.randn(count, 3, height, width) + labels[:, None], labels[:, None].long()


def main(steps=60, height=64, width=64, batch=4):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = DAMambaNet(in_channels=3, num_classes=2, input_size=(height, width)).to(device)
    loss_function = ASFMLoss()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for step in range(steps):
        images, target = (x.to(device) for x in draw(batch, height, width))
        loss = sum(loss_function(logits, target) for logits in network(images))  # final, decoder and layer
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"step {step}: loss {loss.item():.3f}")

    network.eval()
    network.deep_supervision = False  # only the final logits
    with torch.inference_mode():
        images, target = (x.to(device) for x in draw(16, height, width))
        predicted = network(images).argmax(1, keepdim=True)
    dice = 2 * (predicted * target).sum() / (predicted + target).sum()
    print(f"Dice of new images: {dice:.3f}")
    return dice.item()


if __name__ == "__main__":
    main()
