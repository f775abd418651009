"""How far MONAI's distances are from the exact ones, on shapes whose distances are known.

tests/report/test_exactness.py measures both again.
"""

from typing import NamedTuple


class Exactness(NamedTuple):
    """HD95 and ASSD of two shapes, as MONAI has them and as they are between the true outlines."""

    shapes: str
    hd95: str
    exact_hd95: str
    assd: str
    exact_assd: str


EXACTNESS = (
    Exactness("square of 10 px, moved by 3 px", "3.00", "3.00", "1.50", "1.50"),
    Exactness("the same, pixels of 2 x 0.5 mm, moved by 3 rows", "6.00", "6.00", "2.28", "1.45"),
    Exactness("strips of 40 x 10 and 40 x 14 px at the border of the image", "4.00", "4.00", "1.56", "1.54"),
    Exactness("the whole image, 40 px, and all but a rim of 3 px", "3.61", "3.61", "3.04", "3.04"),
    Exactness("discs, radius 50 and 45 px", "5.10", "5.00", "4.82", "5.00"),
    Exactness("discs, radius 5 and 3 px", "2.24", "2.00", "1.88", "2.00"),
    Exactness("discs, radius 50 and 45 mm, pixels of 2 x 0.5 mm", "5.39", "5.00", "4.49", "5.00"),
    Exactness("balls, radius 20 and 17 mm, voxels of 1 mm", "3.16", "3.00", "2.86", "3.00"),
    Exactness("the same, slices of 5 mm", "5.00", "3.00", "2.12", "3.00"),
    Exactness("block of 25 x 20 x 20 mm, slices of 5 mm, moved by one slice", "5.00", "5.00", "2.94", "1.49"),
)
