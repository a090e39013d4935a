"""Numbers as people write them: 38.1%, 3,2, 1,300,000, 3.2 ± 0.1, 10^18, 1.3B."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "--", "–", "—", "?"})
"""Words (in lower case) that stand for a missing value, in every table."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(_NUMBER)
_DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_DOTTED = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+,\d+|[+-]?\d{1,3}(?:\.\d{3}){2,}")
_COMMAS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?")
_OTHER_GROUPS = re.compile(r"[+-]?\d{1,3}(?:([ \u00a0\u2009\u202f'’_])\d{3})(?:\1\d{3})*(?:\.\d+)?")
_SPREAD = re.compile(rf"([^±(]+?)\s*(?:(?:±|\+/-|\+-)\s*[\d.,]+|\(\s*±?{_NUMBER}\s*\))")
_POWER = re.compile(rf"(?:({_NUMBER})\s*[x×*·]\s*)?10\s*(?:\^|\*\*)\s*\{{?([+-]?\d+)\}}?")
_MAGNITUDE = re.compile(rf"({_NUMBER})\s*(k|m|mn|million|b|bn|billion|g|t|tn|trillion)", re.IGNORECASE)
_SCALES = {"k": 1e3, "m": 1e6, "mn": 1e6, "million": 1e6, "b": 1e9, "bn": 1e9, "billion": 1e9, "g": 1e9}
_SCALES |= {"t": 1e12, "tn": 1e12, "trillion": 1e12}
_RAISED = re.compile("10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LONGEST = 60
_CODE = re.compile(r"0\d+")


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How the numbers of one column are written: what a comma means, whether dots group, whether 1.3B is a number."""

    comma: Literal["decimal", "thousands", "none"] = "none"
    dots_group: bool = False
    magnitudes: bool = False


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """A column read as numbers: `values` (n,), NaN where missing or no number; `bad` (n,) marks the latter.

    `percent` (n,) marks cells with a percent sign, whose numbers are still percentages. `styles` says how numbers were
    written where not plainly: the style, and the first place of it. `coded` says that some cell is a whole number that
    begins with a zero, as postcodes and names do.
    """

    values: NDArray[np.float64]
    bad: NDArray[np.bool_]
    percent: NDArray[np.bool_]
    styles: tuple[tuple[str, int], ...]
    convention: Convention
    coded: bool = False

    @property
    def obvious(self) -> bool:
        """Whether the column is one of numbers without anybody asking: they agree, and none is a code such as "007"."""
        return self.agree and not self.coded

    @property
    def agree(self) -> bool:
        """Whether nine in ten of the filled cells (or all but one) are numbers, and at least one is."""
        wrong, filled = int(self.bad.sum()), int((self.bad | np.isfinite(self.values)).sum())
        return filled > wrong and wrong <= max(0.1 * filled, 1)


def parse_numbers(cells: Sequence[Any], *, semicolons: bool = False, magnitudes: bool = False) -> Numbers:
    """Read cells (texts, numbers, None) as numbers, by the one convention that the whole column agrees on.

    A comma is decimal where some cell allows no other reading ("3,25", "0,5"), else it groups thousands; `semicolons`
    (the delimiter of the file) settles "1,300" as 1.3. `magnitudes` reads "1.3B", "400M" and "12k", which are labels
    otherwise. In a column whose cells contradict each other, those with a comma are no numbers.
    """
    texts = ["" if cell is None else str(cell).strip() for cell in cells]
    rule = convention_of(texts, semicolons=semicolons, magnitudes=magnitudes)
    values, percent = np.full(len(texts), np.nan), np.zeros(len(texts), dtype=bool)
    bad, styles = np.zeros(len(texts), dtype=bool), {}
    for place, (cell, text) in enumerate(zip(cells, texts, strict=True)):
        if text.lower() in MISSING:
            continue
        number, style = (math.nan, "") if isinstance(cell, bool) else read_number(text, rule)
        values[place], bad[place], percent[place] = number, math.isnan(number), "%" in text
        if style and not bad[place]:
            styles.setdefault(style, place)
    coded = any(map(_CODE.fullmatch, texts))
    return Numbers(
        values=values, bad=bad, percent=percent & ~bad, styles=tuple(styles.items()), convention=rule, coded=coded
    )


def convention_of(texts: Iterable[str], *, semicolons: bool = False, magnitudes: bool = False) -> Convention:
    """The convention that the cells of a column agree on; a comma means nothing where they contradict each other."""
    bare = {_bare(text) for text in texts if "," in text or "." in text}
    dots = any(_DOTTED.fullmatch(text) for text in bare)
    decimal = any(_DECIMAL.fullmatch(text) and not _COMMAS.fullmatch(text) for text in bare)
    decimal |= any("," in text and _DOTTED.fullmatch(text) for text in bare)
    grouped = any(_COMMAS.fullmatch(text) and not _DECIMAL.fullmatch(text) for text in bare)
    comma: Literal["decimal", "thousands", "none"] = (
        "decimal" if decimal or (semicolons and not grouped) else "thousands"
    )
    return Convention(
        comma="none" if decimal and grouped else comma, dots_group=dots and not grouped, magnitudes=magnitudes
    )


def read_number(text: str, rule: Convention) -> tuple[float, str]:
    """The number in a trimmed text, NaN if it is none or not finite, and how it is written ('' if plainly)."""
    if len(text) > _LONGEST:
        return math.nan, ""
    text = text.replace("−", "-")
    if _PLAIN.fullmatch(text) and not (rule.dots_group and "." in text):
        return _finite(float(text)), ""
    if text.endswith("%"):
        return read_number(text[:-1].rstrip(), rule)
    if found := _SPREAD.fullmatch(text):
        value, style = read_number(found[1], rule)
        return value, " and ".join(filter(None, ("a spread", style)))
    if found := _POWER.fullmatch(_RAISED.sub(lambda raised: "10^" + raised[1].translate(_LOWERED), text)):
        return _finite(float(found[1] or 1) * float(f"1e{found[2]}")), "a power of ten"
    return _separated(text, rule)


def _separated(text: str, rule: Convention) -> tuple[float, str]:
    if rule.dots_group and (_DOTTED.fullmatch(text) or re.fullmatch(r"[+-]?\d{1,3}(?:\.\d{3})*(?:,\d+)?", text)):
        return _finite(float(text.replace(".", "").replace(",", "."))), "dots between thousands"
    if rule.comma == "decimal" and _DECIMAL.fullmatch(text):
        return _finite(float(text.replace(",", "."))), "a decimal comma"
    if rule.comma == "thousands" and _COMMAS.fullmatch(text):
        return _finite(float(text.replace(",", ""))), "commas between thousands"
    if found := _OTHER_GROUPS.fullmatch(text):
        return _finite(float(text.replace(found[1], ""))), "thousands set apart"
    if rule.magnitudes and (found := _MAGNITUDE.fullmatch(text)):
        return _finite(float(found[1]) * _SCALES[found[2].lower()]), "a letter for thousands, millions or more"
    return math.nan, ""


def _bare(text: str) -> str:
    found = _SPREAD.fullmatch(text.rstrip("% ")) if len(text) <= _LONGEST else None
    return (found[1] if found else text).rstrip("% ")


def _finite(number: float) -> float:
    return number if math.isfinite(number) else math.nan
