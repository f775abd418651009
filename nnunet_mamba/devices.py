"""The device to work on if the user names none."""


def best_device() -> str:
    """`cuda` or `mps` where torch has it, else `cpu`. Imports torch."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
