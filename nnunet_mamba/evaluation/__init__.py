"""Evaluation of predictions: outlines drawn into images."""

from nnunet_mamba.evaluation.overlay import OverlayCase, contact_sheet, outline, overlay

__all__ = ["OverlayCase", "contact_sheet", "outline", "overlay"]
