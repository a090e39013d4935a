"""Task vectors of Steps that made models."""

from collections.abc import Callable, Sequence

from surefoot.core import Step
from surefoot.weights import Checkpoint, TaskVector

WEIGHTS = "model.safetensors"


def task_vectors(
    base: Step, plus: Sequence[Step], minus: Sequence[Step], read: Callable[[Step], Checkpoint]
) -> list[TaskVector]:
    """One vector a model; each model is read once, so that what is added and taken away again cancels out."""
    opened = {key: read(model) for key, model in {model.key: model for model in (base, *plus, *minus)}.items()}

    def vector(model: Step) -> TaskVector:
        return TaskVector(opened[base.key], opened[model.key])

    return [*(vector(model) for model in plus), *(-vector(model) for model in minus)]


def sum_of(vectors: Sequence[TaskVector]) -> TaskVector:
    """The sum of at least one vector."""
    return sum(vectors[1:], vectors[0])
