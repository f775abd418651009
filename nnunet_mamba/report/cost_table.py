"""What each trainer costs, as far as its folder tells."""

from typing import Any

from nnunet_mamba.report.comparison import Comparison


def cost_content(comparison: Comparison) -> list[dict[str, Any]]:
    """A row per trainer."""
    return []
