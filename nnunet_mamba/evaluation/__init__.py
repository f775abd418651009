"""Evaluation of predictions: outlines drawn into images."""

from nnunet_mamba.evaluation.overlay import OverlayCase, as_8_bit, contact_sheet, outline, overlay

__all__ = ["OverlayCase", "as_8_bit", "contact_sheet", "outline", "overlay"]
