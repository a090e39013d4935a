"""The same numbers every time: threads, algorithms and seeds."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from surefoot.core import SurefootError

if TYPE_CHECKING:
    import torch


_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of glibc's mallopt


@cache
def keep_memory() -> None:
    """Let this process keep the memory of tensors that are freed, for the next ones: nothing but the time changes.

    glibc gives large blocks back to the system at once and takes them again, zeroed, a layer later: half of the time of
    a convolutional network on 96 pixels. Elsewhere nothing is done.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            libc = ctypes.CDLL(None)
            libc.mallopt(_MMAP_MAX, 0)
            libc.mallopt(_TRIM_THRESHOLD, 2**31 - 1)


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Compute with this number of threads, with deterministic algorithms only, and denormal numbers as zero.

    Denormal numbers make a processor up to a hundred times slower and carry nothing. What was set before is set again,
    torch's own generator as well.
    """
    import torch

    keep_memory()
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.set_flush_denormal(True)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_flush_denormal(False)
        torch.use_deterministic_algorithms(before[1])
        torch.set_num_threads(before[0])


def generator_for(*identity: str | int) -> "torch.Generator":
    """A generator that depends on the identity alone, such as ("batch", seed, step).

    Because each step of a training has its own, a resumed training needs no generator's state.
    """
    import torch

    return torch.Generator().manual_seed(seed_for(*identity))


def rows_of_batch(total: int, size: int, number: int, *identity: str | int) -> "torch.Tensor":
    """The rows of a batch, int64 (size,): every one of `total` once before any comes again, in an order by identity.

    Each pass over the rows has a new order, and a batch may lie across two: it depends on its number alone.
    """
    import torch

    start, end = number * size, (number + 1) * size
    first, last = start // total, (end - 1) // total
    orders = [torch.randperm(total, generator=generator_for(*identity, epoch)) for epoch in range(first, last + 1)]
    return torch.cat(orders)[start - first * total : end - first * total]


def shard_of(total: int, shard: tuple[int, int]) -> "torch.Tensor":
    """The rows of a worker's part: with (i, n) the i-th of n interleaved ones. Raises where `total` rows have none."""
    import torch

    part, parts = shard
    if not 0 <= part < min(parts, total):
        raise SurefootError(f"A set of {total:,} has none for shard {shard}: a shard (i, n) has 0 <= i < n.")
    return torch.arange(part, total, parts)


def seed_for(*identity: str | int) -> int:
    """A 63-bit seed that depends on the identity alone."""
    return int.from_bytes(sha256(repr(identity).encode()).digest()[:8], "little") >> 1
