"""Prediction with trained models."""

from nnunet_mamba.prediction.predictor import Predictor

__all__ = ["Predictor"]
