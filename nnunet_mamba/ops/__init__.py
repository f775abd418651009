"""Selective scans: tensors in, tensors out. reference.py is the definition; the engines compute the same, faster."""

from nnunet_mamba.ops.projected import projected_scan
from nnunet_mamba.ops.scan import directional_scan, selective_scan
from nnunet_mamba.ops.scan_orders import ScanOrders, cross_scan_orders, slice_scan_orders

__all__ = [
    "ScanOrders",
    "cross_scan_orders",
    "directional_scan",
    "projected_scan",
    "selective_scan",
    "slice_scan_orders",
]
