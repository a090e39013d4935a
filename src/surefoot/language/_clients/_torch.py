"""A causal model of transformers on disk, asked in this process."""

from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.language._clients._client import Call, RefusedError
from surefoot.language._clients._protocol import ClientOptions, Completion, Request, TokenLogprob
from surefoot.language._clients._wire import api_of
from surefoot.language._models._language import LanguageModel, load_language
from surefoot.training import reproducible

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Torch:
    """The model in `directory`, one request at a time, so that no answer depends on its neighbours."""

    directory: Path
    options: ClientOptions
    digest: str

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.directory.name

    @property
    def identity(self) -> str:
        """Digest of the files, versions of the libraries, number of threads, and the form of requests."""
        built = (f"{name} {version(name)}" for name in ("torch", "transformers"))
        return " | ".join(("torch", self.digest, *built, f"threads {self.options.threads}", self.options.api))

    @cached_property
    def _loaded(self) -> LanguageModel:
        return load_language(self.directory)

    def ask(self, request: Request, call: Call) -> Completion:
        """The whole answer: the likeliest token each time, or drawn by the seed where there is a temperature."""
        import torch

        with call.turn():
            prompt = self._prompt(request)
            stop = [_Stop(self._loaded, len(prompt), request.stop)]
            most = min(request.max_tokens, (self._loaded.window or 1 << 40) - len(prompt))
            with torch.inference_mode(), reproducible(self.options.threads):
                torch.manual_seed(request.seed)
                given, how = torch.tensor([prompt]), self._settings(request, most)
                found = self._loaded.model.generate(given, generation_config=how, stopping_criteria=stop)
        return self._completion(request, found, prompt, most)

    def close(self) -> None:
        """Free the model."""
        vars(self).pop("_loaded", None)

    def _prompt(self, request: Request) -> list[int]:
        tokenizer, window = self._loaded.tokenizer, self._loaded.window
        if api_of(request, self.options) == "chat":
            turns = request.messages or (("user", request.prompt),)
            if not tokenizer.chat_template:
                raise RefusedError(f"{self.name} has no chat template: ask it with a prompt.")
            messages = [{"role": role, "content": content} for role, content in turns]
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        else:
            ids = tokenizer(request.prompt, verbose=False)["input_ids"]
        if window and len(ids) + 1 > window:
            raise RefusedError(f"{self.name} refused a prompt of {len(ids)} tokens: its window is {window}.")
        return ids

    def _settings(self, request: Request, most: int) -> Any:
        """Nothing but what the request says: no penalties or truncated choices that a model's own settings ask for."""
        from transformers import GenerationConfig

        own, drawn = self._loaded.model.generation_config, request.temperature > 0
        ends = own.eos_token_id if own.eos_token_id is not None else self._loaded.tokenizer.eos_token_id
        return GenerationConfig(
            max_new_tokens=most,
            do_sample=drawn,
            **({"temperature": request.temperature, "top_k": 0, "top_p": 1.0} if drawn else {}),
            bos_token_id=own.bos_token_id,
            eos_token_id=ends,
            pad_token_id=self._loaded.start,
            return_dict_in_generate=True,
            output_logits=request.top_logprobs is not None,
        )

    def _completion(self, request: Request, found: Any, prompt: list[int], most: int) -> Completion:
        tokenizer, ids = self._loaded.tokenizer, found.sequences[0].tolist()
        new = ids[len(prompt) :]
        before, whole = (tokenizer.decode(part, skip_special_tokens=True) for part in (prompt, ids))
        text = whole[len(before) :] if whole.startswith(before) else tokenizer.decode(new, skip_special_tokens=True)
        tokens, top = _logprobs(tokenizer, found.logits, new, request.top_logprobs or 0) if found.logits else ((), ())
        own = self._loaded.model.generation_config.eos_token_id
        ends = {*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id}
        return Completion(
            text=text,
            finish="length" if len(new) == most and new[-1] not in ends else "stop",
            prompt_tokens=len(prompt),
            completion_tokens=len(new),
            tokens=tokens,
            top_logprobs=top if request.top_logprobs else (),
        )


@dataclass
class _Stop:
    """Whether a stop sequence stands in what was generated; only the last tokens can have brought one."""

    loaded: LanguageModel
    start: int
    stop: tuple[str, ...]

    def __call__(self, ids: "torch.Tensor", scores: Any, **_: object) -> "torch.Tensor":
        import torch

        last = max((len(one.encode()) for one in self.stop), default=0) + 1  # a token has at least a byte
        text = self.loaded.tokenizer.decode(ids[0, self.start :][-last:]) if self.stop else ""
        return torch.tensor([any(one in text for one in self.stop)])


def _logprobs(
    tokenizer: Any, logits: "tuple[torch.Tensor, ...]", new: list[int], wanted: int
) -> tuple[tuple[TokenLogprob, ...], tuple[tuple[TokenLogprob, ...], ...]]:
    import torch

    rows = torch.cat(logits).double().log_softmax(dim=-1)
    best = rows.topk(min(wanted, rows.shape[1]))
    tokens = tuple((tokenizer.decode([token]), rows[at, token].item()) for at, token in enumerate(new))
    top = tuple(
        tuple((tokenizer.decode([token]), value) for token, value in zip(ids, values, strict=True))
        for ids, values in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
    return tokens, top
