"""What would make weights of equal shapes mean different things: settings, vocabularies and ties that differ."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.weights._arithmetic._chunks import tied
from surefoot.weights._arithmetic._plan import MergePlan, Row
from surefoot.weights._files._opening import open_checkpoint
from surefoot.weights._mergekit._layers import numbered

_FILES = ("config.json", "open_clip_config.json")
_OFF_WITHOUT = re.compile(r"rope_scaling|quantization|tie_|sliding_window")  # others have a default where they lack
# Settings of training, of generation and of who wrote the file: the same weights are the same function under any.
_IDLE = re.compile(
    r"^_|version|dtype|use_cache|token|dropout|drop_path|initializer|_std$|architectures|auto_map|label|problem_type"
    r"|task|^output_|loss|_coef$|max_(?:position|length|seq)|checkpointing|tag$|url|license"
)
_HEADS = re.compile(r"(?:lm_head|embed_out|output)\.weight$")
_EMBEDDINGS = re.compile(r"(?:embed_tokens|wte|embed_in|tok_embeddings|word_embeddings|shared)\.weight$")
_SHOWN = 3


def differing_settings(plan: MergePlan) -> list[str]:
    """A warning for each model whose settings or numbers of tokens are not those of the first; slices count layers."""
    first, *others = _folders(plan)
    found: list[str] = []
    for other in others:
        for name in _FILES:
            one, two = _content(first / name), _content(other / name)
            told = [f"{key} is {a!r} and {b!r}"[:120] for key, a, b in _differing(one, two, plan.layers is not None)]
            found += [f"{name} of {first} and {other}: {_some(told)}; one model cannot be both"] if told else []
        moved = _other_numbers(first, other)
        found += [f"tokens of {first} and {other} have different numbers: {_some(moved)}"] if moved else []
    return found


def _folders(plan: MergePlan) -> list[Path]:
    # What was read from a pickle is in memory: its label is the place of the file.
    pairs = (pair for one in plan.assignments for pair in zip(one.labels, one.sources, strict=True))
    paths = dict.fromkeys(getattr(source, "path", Path(label)) for label, source in pairs)
    there = (path if path.is_dir() else path.parent for path in paths if path.name and path.exists())
    return [*dict.fromkeys(there)] or [Path("nowhere")]


def _some(told: Sequence[str]) -> str:
    return ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")


def _content(file: Path) -> Any:
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _differing(one: Any, two: Any, sliced: bool) -> Iterator[tuple[str, Any, Any]]:
    if not (isinstance(one, Mapping) and isinstance(two, Mapping)):
        return
    for key in [key for key in {**one, **two} if not _IDLE.search(key)]:
        a, b = one.get(key), two.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from ((f"{key}.{inner}", *values) for inner, *values in _differing(a, b, sliced))
        elif (
            a != b
            and (None not in (a, b) or _OFF_WITHOUT.search(key))
            and not (sliced and (isinstance(a, list) or "layer" in key))
        ):
            yield key, a, b


def _other_numbers(one: Path, two: Path) -> list[str]:
    pairs = ((one / name, two / name) for name in ("tokenizer.json", "vocab.json", "added_tokens.json"))
    read = [(a, b) for a, b in pairs if a.is_file() and b.is_file() and a.read_bytes() != b.read_bytes()]
    return list(
        dict.fromkeys(
            f"{token!r} is {number} and {found[token]}"
            for known, found in ((_numbers(a), _numbers(b)) for a, b in read)
            for token, number in known.items()
            if found.get(token, number) != number
        )
    )


def _numbers(file: Path) -> dict[str, Any]:
    content = _content(file)
    try:
        if not isinstance(content.get("model"), dict):  # of GPT-2: a mapping of the tokens themselves
            return content
        vocabulary = content["model"]["vocab"]
        listed = isinstance(vocabulary, list)  # Unigram: pairs of token and score
        numbers = {one[0]: place for place, one in enumerate(vocabulary)} if listed else dict(vocabulary)
        return numbers | {one["content"]: one["id"] for one in content.get("added_tokens") or []}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return {}


def untied(plan: MergePlan, path: Path, rows: Sequence[Row]) -> list[str]:
    """A warning for each two matrices that are one to the model and differ in the result.

    They are those that are the same in the base, and embeddings and head where config.json says `tie_word_embeddings`.
    """
    outer = {one.name: one for one in plan.assignments if len(one.shape) > 1 and numbered(one.name)[1] < 0}
    seen: dict[tuple[Any, ...], list[str]] = {}
    for name, digests in _base_digests(rows).items():
        if name in outer:
            seen.setdefault((outer[name].shape, outer[name].sources[0].dtype, *digests), []).append(name)
    alike = [tuple(sorted((names[0], name))) for names in seen.values() for name in names[1:]]
    pairs = {(a, b) for a, b in alike if tied(a, outer[a].sources[0], outer[b].sources[0])}
    if _says_tied(_content(_folders(plan)[0] / "config.json")):
        heads = [(a, b) for a in outer if _EMBEDDINGS.search(a) for b in outer if _HEADS.search(b)]
        pairs |= {(min(a, b), max(a, b)) for a, b in heads if outer[a].shape == outer[b].shape}
    made = open_checkpoint(path).tensors if pairs else {}
    return [
        f"{one} and {two} are one matrix to the model (the base, or tie_word_embeddings) and differ now: "
        "who loads the result takes one of them"
        for one, two in sorted(pairs)
        if not tied(one, made[one], made[two])
    ]


def _base_digests(rows: Sequence[Row]) -> dict[str, list[tuple[int, str | None]]]:
    found: dict[str, list[tuple[int, str | None]]] = {}
    for row in rows:
        found.setdefault(row.name, []).append((row.start, row.digests[0]))
    return found


def _says_tied(config: Any) -> bool:
    inner = [one for one in config.values() if isinstance(one, dict)] if isinstance(config, dict) else []
    return isinstance(config, dict) and any(one.get("tie_word_embeddings") is True for one in (config, *inner))
