"""What a training draws depends on the step alone, so that a kill changes nothing."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from surefoot.training import Schedule, adamw, reproducible, train
from surefoot.training import _loop as loop

SCHEDULE = Schedule(steps=8, batch=2, learning_rate=1e-2, warmup=0.0)
ROWS = torch.arange(12.0).view(2, 6) / 12


def model_with_dropout() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 6), torch.nn.Dropout(0.5), torch.nn.Linear(6, 1))


def trained(out: Path, *, breaks_at: int | None = None) -> tuple[torch.nn.Module, list[float]]:
    out.mkdir(parents=True, exist_ok=True)
    model = model_with_dropout()

    def loss_at(step: int) -> torch.Tensor:
        if step == breaks_at:
            raise KeyboardInterrupt
        return model(ROWS).square().mean()

    return model, train(model, adamw(model, 1e-2, 0.0), loss_at, SCHEDULE, out)


def test_a_training_with_dropout_that_broke_off_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, losses = trained(tmp_path / "whole" / "part")
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(loop._Clock, "saved_in", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken" / "part", breaks_at=5)
    again, after = trained(tmp_path / "broken" / "part")
    assert after == losses
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))
    assert len({round(loss, 6) for loss in losses}) == len(losses)


def test_a_part_of_a_schedule_drops_what_the_whole_drops(tmp_path: Path) -> None:
    model, drawn = model_with_dropout(), []

    def loss_at(step: int) -> torch.Tensor:
        drawn.append(torch.rand(1).item())
        return model(ROWS).square().mean()

    for first, steps in ((0, 4), (2, 2)):
        schedule = Schedule(steps=steps, batch=2, learning_rate=1e-2, warmup=0.0, first=first, whole=4)
        out = tmp_path / str(first) / "part"
        out.mkdir(parents=True)
        train(model, adamw(model, 1e-2, 0.0), loss_at, schedule, out)
    assert drawn[2:4] == drawn[4:]


def test_a_model_in_evaluation_mode_is_trained_without_dropout(tmp_path: Path) -> None:
    model = model_with_dropout().eval()
    expected = model(ROWS).square().mean().item()
    losses = train(model, adamw(model, 1e-2, 0.0), lambda _: model(ROWS).square().mean(), SCHEDULE, tmp_path)
    assert losses[0] == pytest.approx(expected)


def test_the_generator_of_the_caller_goes_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with reproducible(1):
        torch.manual_seed(2)
        torch.rand(5)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is asked to keep memory")
def test_freed_tensors_are_not_given_back_to_the_system_and_taken_again() -> None:
    code = """
import resource, torch
from surefoot.training import keep_memory
keep_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
for _ in range(20):
    torch.ones(16_000_000)
print(faults() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 * 16_000_000 * 4 // 4096, "the pages of less than four of the twenty"
