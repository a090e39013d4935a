"""Batches, augmentation and the schedule depend on the seed and the step alone."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surefoot.contrastive import Batches, TokenizedPairs, augmented
from surefoot.training import Schedule, generator_for, reproducible, seed_for


def pairs_of(pictures: int) -> TokenizedPairs:
    """Picture i has i % 3 + 1 captions, each a row of tokens that begins with i."""
    count = torch.tensor([picture % 3 + 1 for picture in range(pictures)])
    tokens = torch.repeat_interleave(torch.arange(pictures), count)[:, None].expand(-1, 4)
    images = torch.arange(pictures, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 2, 2)
    return TokenizedPairs(images=images, tokens=tokens, first=count.cumsum(0) - count, count=count)


@given(st.integers(2, 30), st.integers(1, 70), st.integers(0, 5))
def test_every_picture_is_seen_once_before_any_comes_again(pictures: int, size: int, seed: int) -> None:
    batches = Batches(pairs=pairs_of(pictures), size=size, seed=seed)
    steps = math.ceil(3 * pictures / size)
    seen = torch.cat([batches.indices(step) for step in range(steps)])
    assert len(seen) == steps * size
    for epoch in range(3):
        assert sorted(seen[epoch * pictures : (epoch + 1) * pictures].tolist()) == list(range(pictures))


@given(st.integers(0, 1000))
def test_each_picture_comes_with_one_of_its_own_captions(step: int) -> None:
    images, tokens = Batches(pairs=pairs_of(20), size=8, seed=0).at(step)
    assert torch.equal(images[:, 0, 0, 0].long(), tokens[:, 0])


def test_all_captions_of_a_picture_are_drawn_alike_often() -> None:
    pairs = TokenizedPairs(
        images=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        tokens=torch.arange(4)[:, None],
        first=torch.tensor([0]),
        count=torch.tensor([4]),
    )
    batches = Batches(pairs=pairs, size=100, seed=0)
    counts = torch.bincount(torch.cat([batches.at(step)[1][:, 0] for step in range(20)]))
    assert len(counts) == 4
    assert ((counts - 500).abs() < 5 * math.sqrt(2000 * 0.25 * 0.75)).all()


def test_seeds_differ_by_purpose_and_step_and_are_those_of_every_machine() -> None:
    assert len({seed_for(*identity) for identity in (("a", 0, 1), ("a", 1, 0), ("b", 0, 1), ("a", 1))}) == 4
    assert seed_for("order", 0, 0) == 9000469282592126558


@pytest.mark.parametrize("kind", ["shift", "colour"])
def test_augmentation_keeps_the_range_and_depends_on_the_generator_alone(kind: str) -> None:
    images = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=generator_for("test"))
    first, again, other = (augmented(images, kind, generator_for(kind, seed)) for seed in (0, 0, 1))  # pyright: ignore[reportArgumentType]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.min() >= 0
    assert first.max() <= 1 + 1e-6


def test_a_picture_of_one_colour_is_not_changed_by_shifting() -> None:
    images = torch.full((4, 3, 16, 16), 77, dtype=torch.uint8)
    assert torch.allclose(augmented(images, "shift", generator_for("x")), torch.tensor(77 / 255))


def test_without_augmentation_pictures_are_only_scaled() -> None:
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8, generator=generator_for("test"))
    assert torch.equal(augmented(images, "none", generator_for("x")), images / 255)


def test_the_schedule_rises_to_the_learning_rate_and_falls_to_zero_as_torchs_cosine() -> None:
    schedule = Schedule(steps=100, batch=8, learning_rate=0.5, warmup=0.2)
    rates = [schedule.rate(step) for step in range(100)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.5)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=80)
    for step in range(20, 100):
        assert rates[step] == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        cosine.step()


def test_what_was_set_before_is_set_again() -> None:
    before = torch.get_num_threads()
    with reproducible(threads=2):
        assert torch.get_num_threads() == 2
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == before
    assert not torch.are_deterministic_algorithms_enabled()
