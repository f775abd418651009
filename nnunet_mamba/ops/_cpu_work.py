"""How the CPU engine splits a scan into work items, and what the lanes of their vectors hold."""

import itertools
from typing import NamedTuple

from nnunet_mamba.ops._cpu_scratch import LANES
from nnunet_mamba.ops.engines import Sizes


class WorkItem(NamedTuple):
    """What a thread does at a time: one group's blocks of channels, along some directions, of one or two batch entries.

    A vector has 16 channels in its lanes, or 8 of one entry and 8 of the next.
    """

    entries: int
    entry: int  # the first
    group: int
    part: int  # of the directions; each has its own y and du
    first_block: int
    last_block: int
    first_direction: int
    last_direction: int
    block_part: int  # of the blocks; each has its own dB and dC
    first_vector: int  # number of the first block's vector among all


def entries_per_vector(sizes: Sizes) -> int:
    """At most: two if the channels fill half of the lanes or less. The last entry may be on its own."""
    return 2 if sizes.groups == 1 and sizes.channels <= LANES // 2 else 1


def blocks_per_group(sizes: Sizes) -> int:
    return -(-(sizes.channels // sizes.groups) // LANES)


def vectors(sizes: Sizes) -> int:
    """Number of vectors that hold every channel of every batch entry."""
    return -(-sizes.batch // entries_per_vector(sizes)) * sizes.groups * blocks_per_group(sizes)


def work(sizes: Sizes, threads: int) -> tuple[list[WorkItem], int, int]:
    """Work items, and the number of parts that directions and blocks are split into.

    An item is a batch entry, or two, and a group. If these do not keep all threads busy, its blocks of channels are
    split, then its directions.
    """
    together, blocks = entries_per_vector(sizes), blocks_per_group(sizes)
    paired = sizes.batch - sizes.batch % together
    starts = [*((b, together) for b in range(0, paired, together)), *((b, 1) for b in range(paired, sizes.batch))]
    count = len(starts) * sizes.groups
    block_parts = min(blocks, _split(count, threads))
    parts = min(sizes.directions, _split(count * block_parts, threads))
    items = []
    for (number, (b, entries)), g in itertools.product(enumerate(starts), range(sizes.groups)):
        for i, j in itertools.product(range(block_parts), range(parts)):
            block_range = blocks * i // block_parts, blocks * (i + 1) // block_parts
            direction_range = sizes.directions * j // parts, sizes.directions * (j + 1) // parts
            vector = (number * sizes.groups + g) * blocks + block_range[0]
            items.append(WorkItem(entries, b, g, j, *block_range, *direction_range, i, vector))
    return items, parts, block_parts


def _split(items: int, threads: int) -> int:
    """Number of parts to split each item into: one if threads get equal shares already, otherwise one per thread."""
    return 1 if items % threads == 0 or items >= 4 * threads else threads
