"""Whether it was worth it: pictures of predictions beside the truth."""

from nnunet_mamba.evaluation.overlay import OverlayCase, contact_sheet, outline, overlay

__all__ = ["OverlayCase", "contact_sheet", "outline", "overlay"]
