"""Balance by concept: of captions that hold common entries fewer are kept, of those that hold rare ones all."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from surefoot.core import SurefootError

_HEAD = 4
_UNSPACED = (
    r"[\u0e00-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0002fa1f]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Chinese and Japanese are written without spaces between words."""


@dataclass(frozen=True, kw_only=True)
class Balance:
    """MetaCLIP's balancing (Xu et al. 2024, 2309.16671): of each entry at most `most` captions, in expectation.

    An entry is matched as whole words, as written: between spaces or any of `,.;:?!` and a backtick; of a script
    without spaces also within. One that n captions hold draws each of them with the probability min(1, most / n), by a
    digest of seed, uid and entry; what any entry draws stays.
    """

    entries: frozenset[str]
    most: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.most < 1 or not self.entries or not all(map(str.strip, self.entries)):
            raise SurefootError(f"A balance needs entries, none of them empty, and at least 1 caption: {self.most}.")

    @cached_property
    def _lengths(self) -> Mapping[str, set[int]]:
        """How long the entries are that begin with these characters."""
        found = defaultdict[str, set[int]](set)
        for entry in self._words:
            found[entry[:_HEAD]].add(len(entry))
        return found

    @cached_property
    def _words(self) -> frozenset[str]:
        """The entries with a space where a word must end."""
        inner = (_spaced(entry).strip() for entry in self.entries)
        sides = ((" " * (not re.match(_UNSPACED, one)), one, " " * (not re.match(_UNSPACED, one[-1]))) for one in inner)
        return frozenset("".join(one) for one in sides)

    def counts(self, texts: Iterable[str]) -> Counter[str]:
        """In how many captions each entry is."""
        return Counter(entry for text in texts for entry in self._matched(text))

    def draws(self, counts: Mapping[str, int], uid: str, text: str) -> bool:
        """Whether a row stays."""
        return any(self._share(uid, entry) * counts[entry] < self.most for entry in self._matched(text))

    def _matched(self, text: str) -> set[str]:
        text = _spaced(text)
        heads = ((at, text[at : at + size]) for at in range(len(text)) for size in range(1, _HEAD + 1))
        parts = {text[at : at + length] for at, head in heads for length in self._lengths.get(head, ())}
        return parts & self._words

    def _share(self, uid: str, entry: str) -> float:
        return int.from_bytes(blake2b(f"{self.seed}\0{uid}\0{entry}".encode(), digest_size=8).digest()) / 2**64


def _spaced(text: str) -> str:
    """A text with a space around words and marks between them."""
    return re.sub("[\t\n\r]", " ", re.sub("([,.;:?!`])", r" \1 ", f" {text} "))


def read_entries(file: Path) -> frozenset[str]:
    """The entries of a text file, one a line; blank lines are none."""
    try:
        return frozenset(line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"{file} cannot be read as a list of entries: {error}.") from error
