"""Balance by concept: of captions that hold common entries fewer are kept, of those that hold rare ones all."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from surefoot.core import SurefootError

_HEAD = 3


@dataclass(frozen=True, kw_only=True)
class Balance:
    """MetaCLIP's balancing (Xu et al. 2024, 2309.16671): of each entry at most `most` captions, in expectation.

    An entry is matched as a part of the caption between two spaces, as written. One that n captions hold draws each
    of them with the probability min(1, most / n), by a digest of seed, uid and entry; what any entry draws stays.
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
        for entry in self.entries:
            found[entry[:_HEAD]].add(len(entry))
        return found

    def counts(self, texts: Iterable[str]) -> Counter[str]:
        """In how many captions each entry is."""
        return Counter(entry for text in texts for entry in self._matched(text))

    def draws(self, counts: Mapping[str, int], uid: str, text: str) -> bool:
        """Whether a row stays."""
        return any(self._share(uid, entry) * counts[entry] < self.most for entry in self._matched(text))

    def _matched(self, text: str) -> set[str]:
        text = f" {text} "
        heads = ((at, text[at : at + size]) for at in range(len(text)) for size in range(1, _HEAD + 1))
        parts = {text[at : at + length] for at, head in heads for length in self._lengths.get(head, ())}
        return parts & self.entries

    def _share(self, uid: str, entry: str) -> float:
        return int.from_bytes(blake2b(f"{self.seed}\0{uid}\0{entry}".encode(), digest_size=8).digest()) / 2**64


def read_entries(file: Path) -> frozenset[str]:
    """The entries of a text file, one a line; spaces count, blank lines do not."""
    try:
        return frozenset(line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise SurefootError(f"{file} cannot be read as a list of entries: {error}.") from error
