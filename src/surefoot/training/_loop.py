"""The training loop: schedule, progress, checkpoints. What is trained on which loss is the caller's."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from surefoot.core import Measurement, SurefootError, report_progress, resume_directory
from surefoot.training._deterministic import seed_for

if TYPE_CHECKING:
    import torch

CHECKPOINT_SECONDS = 15.0
REPORT_SECONDS = 0.5
HISTORY_ROWS = 200
CHECKPOINT = "checkpoint.safetensors"
Decay = Literal["cosine", "constant", "cooldown"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """`steps` of `batch` samples; the learning rate rises over `warmup` (a fraction of the steps), then falls to zero
    along half a cosine (Loshchilov and Hutter 2016, 1608.03983).

    A schedule can be a part: its steps are those from `first` on of `whole` (None: it ends with this part).
    With `decay` "constant" the rate stays after the warm-up, which a part that comes later (`first`) does not have;
    "cooldown" is such a later part in which it falls to zero along a line (Hägele et al. 2024, 2405.18392).
    """

    steps: int
    batch: int
    learning_rate: float
    warmup: float
    first: int = 0
    whole: int | None = None
    decay: Decay = "cosine"

    def __post_init__(self) -> None:
        end = self.first + self.steps
        if self.first < 0 or end > self.all_steps:
            raise SurefootError(
                f"The part ends at step {end} from step {self.first}: the whole has {self.all_steps} steps."
            )

    @property
    def all_steps(self) -> int:
        """The steps of the whole training."""
        return self.first + self.steps if self.whole is None else self.whole

    def rate(self, step: int) -> float:
        """The learning rate of a step of this part, counted from 0."""
        if self.decay == "cooldown":
            return self.learning_rate * (1 - step / self.steps)
        number, steps = self.first + step, self.all_steps
        if self.decay == "constant" and self.first:
            return self.learning_rate
        rising = round(self.warmup * steps)
        if number < rising:
            return self.learning_rate * (number + 1) / rising
        if self.decay == "constant":
            return self.learning_rate
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - rising) / max(1, steps - rising)))


def train(
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    loss_at: "Callable[[int], torch.Tensor]",
    schedule: Schedule,
    out: Path,
) -> list[float]:
    """Minimise `loss_at(step)` over the optimizer's parameters; returns the loss of every step.

    `loss_at` must depend on the step and the model alone: then a training that was killed, and goes on from its last
    checkpoint, ends with the same bits as one that was not, also with dropout. The model is trained in the mode in
    which it comes: one in evaluation mode drops nothing. The history goes to `history.json` in `out`. Raises
    `SurefootError` when the loss stops being a number.
    """
    import torch

    place = resume_directory(out)
    losses = _restore(place / CHECKPOINT, model, optimizer)
    clock = _Clock(first=len(losses))
    for step in range(len(losses), schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(seed_for("step", schedule.first + step))  # for dropout: the same after a kill
        loss = loss_at(step)
        loss.backward()
        optimizer.step()
        losses.append(_finite(loss.item(), step, schedule))
        clock.tell(out, losses, schedule)
        if clock.is_time_to_save():
            began = time.monotonic()
            _save(place / CHECKPOINT, model, optimizer, losses)
            clock.saved_in(time.monotonic() - began)
    _write_history(out, losses, schedule, clock)
    return losses


def last_tenth(losses: list[float]) -> Measurement:
    """The measurement `loss` of a training: the mean over the last tenth of its steps."""
    last = losses[-math.ceil(len(losses) / 10) :]
    return Measurement(metric="loss", value=sum(last) / len(last), n=len(last))


def adamw(model: "torch.nn.Module", learning_rate: float, weight_decay: float) -> "torch.optim.Optimizer":
    """AdamW as OpenCLIP uses it for ViTs: betas 0.9 and 0.98, epsilon 1e-6, no decay of gains, biases and scales."""
    import torch

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)


@dataclass(kw_only=True)
class _Clock:
    """When to report and when to save: it decides what is seen, never what is computed."""

    first: int
    started: float = 0.0
    reported: float = 0.0
    saved: float = 0.0
    pause: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.saved = time.monotonic()

    def tell(self, out: Path, losses: list[float], schedule: Schedule) -> None:
        now = time.monotonic()
        if now - self.reported >= REPORT_SECONDS or len(losses) == schedule.steps:
            self.reported = now
            recent = losses[-20:]
            report_progress(
                out,
                len(losses) * schedule.batch,
                schedule.steps * schedule.batch,
                loss=sum(recent) / len(recent),
                samples_per_second=self.speed(len(losses), schedule),
            )

    def speed(self, done: int, schedule: Schedule) -> float:
        return (done - self.first) * schedule.batch / max(1e-9, time.monotonic() - self.started)

    def is_time_to_save(self) -> bool:
        return time.monotonic() - self.saved >= max(CHECKPOINT_SECONDS, self.pause)

    def saved_in(self, seconds: float) -> None:
        """A large model takes long to save, so the next pause is at least twenty times as long as that took."""
        self.pause, self.saved = 20 * seconds, time.monotonic()


def _finite(loss: float, step: int, schedule: Schedule) -> float:
    if not math.isfinite(loss):
        raise SurefootError(
            f"The training diverged: the loss of step {step} is {loss}. Lower learning_rate (now "
            f"{schedule.learning_rate:g}) or raise warmup (now {schedule.warmup:g})."
        )
    return loss


def _save(path: Path, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer", losses: list[float]) -> None:
    """Model, optimizer and losses in one safetensors file, put in place with one rename."""
    import torch
    from safetensors.torch import save_file

    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"optimizer.{name}": value for name, value in moments_of(optimizer).items()}
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:8]}.tmp")
    save_file({name: value.detach().contiguous().clone() for name, value in tensors.items()}, temporary)
    temporary.replace(path)


def check_settings(step: Any, **least: int) -> None:
    """Raise `SurefootError` for a field below its least value, and for a learning rate that is not above 0."""
    for name, bound in least.items():
        if getattr(step, name) < bound:
            raise SurefootError(f"{name} is {getattr(step, name)}: it must be at least {bound}.")
    if step.learning_rate <= 0:
        raise SurefootError(f"learning_rate is {step.learning_rate}: it must be above 0.")


def choose_parameters(model: "torch.nn.Module", patterns: Sequence[str]) -> int:
    """Let only the weights change that a pattern names; how many numbers they hold. Raises for one that names none."""
    named = dict(model.named_parameters())
    for pattern in patterns or ("",):
        if not any(fnmatchcase(name, pattern) for name in named):
            raise SurefootError(f"No weight is named like '{pattern}': they are {', '.join([*named][:3])}, ...")
    for name, parameter in named.items():
        parameter.requires_grad_(any(fnmatchcase(name, pattern) for pattern in patterns))
    return sum(parameter.numel() for parameter in named.values() if parameter.requires_grad)


def moments_of(optimizer: "torch.optim.Optimizer") -> "dict[str, torch.Tensor]":
    """The optimizer's state by `parameter.name`, parameters counted in its order; empty before its first step."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": value for index, values in state.items() for name, value in values.items()}


def set_moments(optimizer: "torch.optim.Optimizer", moments: "Mapping[str, torch.Tensor]") -> None:
    """Go on with what `moments_of` gave for an optimizer of the same parameters. Raises `SurefootError` for others."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, Any] = {}
    for name, value in moments.items():
        index, key = name.split(".", 1)
        own = parameters[int(index)] if int(index) < len(parameters) else None
        if own is None or (value.ndim and value.shape != own.shape):
            raise SurefootError(f"Moment {name} fits no parameter here: they are of a training of other parameters.")
        state.setdefault(int(index), {})[key] = _laid_out_like(own, value)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _restore(path: Path, model: "torch.nn.Module", optimizer: "torch.optim.Optimizer") -> list[float]:
    """Go back to the last checkpoint; the losses so far, none where there is no checkpoint."""
    for remnant in path.parent.glob(f"{path.name}.*.tmp"):
        remnant.unlink()
    if not path.is_file():
        return []
    from safetensors.torch import load_file

    tensors = load_file(path)
    losses: list[float] = tensors.pop("losses").tolist()
    model.load_state_dict({name.removeprefix("model."): tensors[name] for name in tensors if name.startswith("model.")})
    prefix = "optimizer."
    set_moments(optimizer, {name[len(prefix) :]: tensors[name] for name in tensors if name.startswith(prefix)})
    return losses


def _laid_out_like(parameter: "torch.Tensor", value: "torch.Tensor") -> "torch.Tensor":
    """The value in the memory order of its parameter: fused AdamW walks through both without looking at strides."""
    import torch

    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def _write_history(out: Path, losses: list[float], schedule: Schedule, clock: _Clock) -> None:
    """At most 200 rows: samples seen, mean loss since the row before, learning rate; and the speed."""
    every = max(1, math.ceil(len(losses) / HISTORY_ROWS))
    rows = [
        {
            "samples": end * schedule.batch,
            "loss": sum(losses[end - every : end]) / every,
            "learning_rate": schedule.rate(end - 1),
        }
        for end in range(every, len(losses) + 1, every)
    ]
    told = {"samples_per_second": round(clock.speed(len(losses), schedule), 1), "rows": rows}
    (out / "history.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
