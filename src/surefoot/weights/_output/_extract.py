"""A LoRA adapter of the difference between two checkpoints: the nearest product of two thin matrices."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surefoot.core import SurefootError, write_text
from surefoot.weights._arithmetic._chunks import is_float
from surefoot.weights._arithmetic._expression import TaskVector, plan_edit
from surefoot.weights._arithmetic._memory import uncounted
from surefoot.weights._arithmetic._plan import Assignment
from surefoot.weights._files._adapters import transposed_layers
from surefoot.weights._files._checkpoint import Checkpoint, LowRank, from_state, load
from surefoot.weights._output._apply import apply

_EMBEDDING = re.compile(r"embed|wte|wpe|word_embeddings")  # PEFT keeps these in another form than that of layers


@dataclass(frozen=True, kw_only=True)
class ExtractReport:
    """What an adapter holds of a difference: its matrices, and the names of the tensors that changed and are not in it,
    that which changed most first.

    `lost` is the norm of what is not in the adapter over the norm of the whole difference, 0 to 1; whole numbers and
    8-bit floats that changed are in `left_out`, but count in no norm.
    """

    path: Path
    matrices: int
    left_out: tuple[str, ...]
    lost: float


def extract(
    base: Checkpoint, tuned: Checkpoint, out: Path | str, rank: int, *, only: Sequence[str] = ()
) -> ExtractReport:
    """Write `tuned - base` as a LoRA adapter (arXiv 2106.09685) of at most this rank into a folder that PEFT opens.

    Each matrix of a layer gets the product nearest to its change (Eckart and Young 1936: the first terms of the
    singular value decomposition, in 64 bits), both factors with the root of the singular values, and alpha is the rank,
    so that the scale is 1. A matrix that did not change has none. Norms, biases and embeddings are no part of such an
    adapter: those that changed are named in the report. Layers that are stored transposed (GPT-2) are known by their
    biases. Names are those of `only`. Raises SurefootError where names or shapes differ, where nothing changed, and
    where both kinds of layers did.
    """
    folder = Path(out)
    if rank < 1 or folder.suffix == ".safetensors":
        raise SurefootError(f"An adapter has a rank of 1 or more and a folder of its own, not {rank} and {folder}.")
    for kind in ("*.safetensors", "*.bin", "*.pt"):
        if other := next((one for one in folder.glob(kind) if one.stem != "adapter_model"), None):
            raise SurefootError(f"{folder} holds a checkpoint ({other.name}): an adapter needs a folder of its own.")
    plan = plan_edit(TaskVector(base, tuned).filter(*only) if only else TaskVector(base, tuned))
    changed = [one for one in plan.assignments if is_float(one.sources[0]) and len(one.sources) > 1]
    factors: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    left_out: dict[str, float] = {}
    total = missed = 0.0
    for one in changed:
        delta = _delta(one)
        square = float((delta**2).sum())
        total += square
        if square and len(one.shape) == 2 and one.name.endswith(".weight") and not _EMBEDDING.search(one.name):
            factors[one.name.removesuffix(".weight")], lost = _nearest(delta, rank)
            missed += lost
        elif square:
            left_out[one.name] = square
            missed += square
    if not factors:
        raise SurefootError(f"{tuned.label}: No matrix of a layer differs from that of {base.label}.")
    transposed = _transposed(base, factors)
    path = _written(folder, factors, rank, transposed)
    lost = float(np.sqrt(missed / total))
    names = (*sorted(left_out, key=lambda name: -left_out[name]), *uncounted(plan))
    return ExtractReport(path=path, matrices=len(factors), left_out=names, lost=lost)


def _delta(one: Assignment) -> np.ndarray:
    base, tuned = one.sources[0], one.sources[1]
    whole = load(tuned).astype(np.float64)
    delta = whole if isinstance(tuned, LowRank) else whole - load(base)
    if not np.isfinite(delta).all():
        raise SurefootError(f"Tensor {one.name!r}: its change is not finite; look at it with weights inspect --values.")
    return delta


def _nearest(delta: np.ndarray, rank: int) -> tuple[tuple[np.ndarray, np.ndarray], float]:
    # The two factors, up and down, and the sum of squares that they do not hold.
    left, values, right = np.linalg.svd(delta, full_matrices=False)
    kept = max(1, min(rank, int(np.count_nonzero(values > values[0] * 1e-12))))
    roots = np.sqrt(values[:kept])
    return (left[:, :kept] * roots, roots[:, None] * right[:kept]), float((values[kept:] ** 2).sum())


def _transposed(base: Checkpoint, modules: Iterable[str]) -> bool:
    found = transposed_layers(base.tensors, modules)
    if len(found) > 1:
        raise SurefootError("Some layers are stored transposed and some are not: extract each kind alone with only.")
    return found == {True}


def _written(folder: Path, factors: Mapping[str, tuple[np.ndarray, np.ndarray]], rank: int, transposed: bool) -> Path:
    state: dict[str, np.ndarray] = {}
    for module, (up, down) in factors.items():
        first, second = (up.T, down.T) if transposed else (down, up)
        state[f"base_model.model.{module}.lora_A.weight"] = first.astype(np.float32)
        state[f"base_model.model.{module}.lora_B.weight"] = second.astype(np.float32)
    # A key is the end of a name to PEFT: without its mark of the beginning `head` would speak of `layers.0.head`, too.
    ranks = {f"^{re.escape(module)}": up.shape[1] for module, (up, _) in factors.items() if up.shape[1] != rank}
    config = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, "inference_mode": True, "r": rank,
        "lora_alpha": rank, "lora_dropout": 0.0, "bias": "none", "init_lora_weights": True, "use_rslora": False,
        "fan_in_fan_out": transposed, "target_modules": sorted(factors), "rank_pattern": ranks, "alpha_pattern": ranks,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    made = apply(TaskVector(from_state(state, label="factors")), folder / "adapter_model.safetensors")
    write_text(folder / "adapter_config.json", json.dumps(config, indent=2) + "\n")
    return made.path
