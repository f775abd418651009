"""Mamba networks for medical image segmentation as trainers of stock nnU-Net v2.

Importing this package imports nothing else: it happens at every start of Python in the environment (see nnunet_plugin).
The first use of `nnunet_mamba.Predictor` imports torch and nnU-Net.
"""

__version__ = "0.1.0"
__all__ = ["Predictor", "__version__"]

TYPE_CHECKING = False  # for type checkers, which take it as true; `typing` itself is an import too many
if TYPE_CHECKING:
    from nnunet_mamba.prediction import Predictor


def __getattr__(name: str) -> type:
    if name != "Predictor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nnunet_mamba.prediction import Predictor

    return Predictor
