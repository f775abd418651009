"""How far MONAI's distances are from the exact ones, on shapes whose distances are known; a test holds these numbers."""

from typing import NamedTuple


class Exactness(NamedTuple):
    """HD95 and ASSD of two shapes, as MONAI has them and as they are between the true outlines."""

    shapes: str
    hd95: str
    exact_hd95: str
    assd: str
    exact_assd: str


EXACTNESS: tuple[Exactness, ...] = ()
