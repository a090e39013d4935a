"""Directions in weight space: a random one of a given length as a control, and the angles between several."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import ClassVar

from surefoot.contrastive._models._artifact import load_model, save_model
from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.training import generator_for
from surefoot.weights import TaskVector, open_checkpoint, statistics


@dataclass(frozen=True, kw_only=True)
class RandomDirection(Step):
    """`base` moved in a random direction, in every tensor as far as the model `like` is from it.

    The control of Ilharco et al. 2022 (2212.04089, section 3): what an edit of the same length does that knows nothing.
    Normal numbers by `seed` and the tensor's name; tensors that fit no pattern of `only` stay. Measures `norm`, the
    length of the whole step.
    """

    base: Step
    like: Step
    only: tuple[str, ...] = ("visual.*",)
    seed: int = 0
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Draw, scale, add, and write the model."""
        import torch

        base, like = load_model(inputs[self.base]), load_model(inputs[self.like])
        tuned, total = like.model.state_dict(), 0.0
        with torch.no_grad():
            for name, value in base.model.state_dict().items():
                if value.is_floating_point() and any(fnmatchcase(name, pattern) for pattern in self.only):
                    length = float((tuned[name] - value).double().norm())
                    drawn = torch.randn(value.shape, generator=generator_for("direction", self.seed, name))
                    value.add_(drawn * (length / max(float(drawn.double().norm()), 1e-30)))
                    total += length**2
        save_model(base.model, base.description, out, base.tokenizer_directory)
        return [Measurement(metric="norm", value=total**0.5, n=1)]


@dataclass(frozen=True, kw_only=True)
class DirectionAngles(Step):
    """Cosines between the task vectors of several models tuned from one base, and how long each vector is.

    `names` name the models. Measures `cosine` of every pair (`task` and `group` are the two names) and `relative_norm`
    (the length over that of the base's weights, `task` is the name).
    """

    base: Step
    models: tuple[Step, ...]
    names: tuple[str, ...]
    only: tuple[str, ...] = ("visual.*",)
    requires: ClassVar[tuple[str, ...]] = ("safetensors",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Stream over the checkpoints once."""
        if len(self.models) != len(self.names) or not self.models:
            raise SurefootError(f"DirectionAngles needs a name for each model: {len(self.models)}, {len(self.names)}.")
        base = open_checkpoint(inputs[self.base] / "model.safetensors")
        tuned = [open_checkpoint(inputs[model] / "model.safetensors") for model in self.models]
        found = statistics([TaskVector(base, one).filter(*self.only) for one in tuned])
        for row, name in enumerate(self.names):
            yield Measurement(metric="relative_norm", value=found.norms[row] / found.base_norm, n=1, task=name)
            for column in range(row):
                cosine = float(found.cosines[row, column])
                yield Measurement(metric="cosine", value=cosine, n=1, task=name, group=self.names[column])
