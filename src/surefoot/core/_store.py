"""The store: a directory of immutable artifacts, one for each Step that was made."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from surefoot.core._errors import SurefootError
from surefoot.core._files import digest_of, file_digests, remove_tree
from surefoot.core._measurement import Measurement, dump_measurements
from surefoot.core._step import KEY_LENGTH, Inputs, Rebuilt, Spec, Step, own_spec

RECORD, EXAMPLES = "record.json", "examples.parquet"
RUNS = ".runs"  # what the Steps of the runs going on are, in one file a run
_FORMAT = 2
_OTHER, _CURE = "has another content than was recorded", "Remove it with surefoot verify --remove, then run again."
_IS_KEY = re.compile(f"[0-9a-f]{{{KEY_LENGTH}}}").fullmatch
_IS_LEFT = re.compile(rf"([0-9a-f]{{{KEY_LENGTH}}}|[0-9a-f]{{12}})\.").match  # beside an artifact, or of a run


class DamagedError(SurefootError):
    """What lies in the store is not what was recorded."""

    what = ""


@dataclass(frozen=True)
class Store:
    """A directory of artifacts: `<kind>/<key>/` holds the files of a Step and `record.json`, which says what it is.

    Beside a finished directory may lie `<key>.lease` (someone is making it), `<key>.failed.json` (it failed)
    and `<key>.part` (unfinished work and checkpoints, never read as a result).
    """

    root: Path

    def path(self, step: Step) -> Path:
        """Where the artifact of a Step lies, or would lie."""
        return self.root / step.kind / step.key

    def file(self, step: Step, name: str) -> Path:
        """A file in the artifact of a Step, for who reads it after a run: compared with its digest, once a process.

        Raises `DamagedError` where its content is not what was recorded.
        """
        return undamaged(self.path(step) / name)

    def has(self, step: Step) -> bool:
        """Whether the Step was made and published, and is all there: every recorded file has its size.

        A copy that was cut short is not there. Contents are compared by `damages`, by `file`, and when a Step first
        uses them. Raises where a field has another value than it was made with: keys hold no defaults, one was changed.
        """
        with suppress(FileNotFoundError, NotADirectoryError, DamagedError):
            artifact = Artifact(self.path(step))
            if not any(_strange_sizes(artifact)):
                _check_defaults(step, artifact)
                return True
        return False

    def held(self, steps: Iterable[Step]) -> set[str]:
        """The keys of those Steps that the store has."""
        made = self.stamps()
        return {step.key for step in steps if step.key in made and self.has(step)}

    def made(self) -> dict[str, Path]:
        """Every published artifact by its key."""
        return {key: Path(path) for key, (path, _) in self.stamps().items()}

    def stamps(self) -> dict[str, tuple[str, int]]:
        """The path of every published artifact and when it was made (nanoseconds), by key.

        Another stamp is another artifact. Plain text: paths as objects would take most of the time of a question.
        Of a key that lies under two kinds, a copied folder, the one whose record says so counts.
        """
        stamps: dict[str, tuple[str, int]] = {}
        for path, key in self.places():
            try:
                stamp = path, os.stat(f"{path}/{RECORD}").st_mtime_ns  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                self._refuse_format_1(Path(path))
                continue
            if key not in stamps or any(_damages_of(Artifact(Path(stamps[key][0])), contents=False)):
                stamps[key] = stamp
        return stamps

    def places(self) -> Iterator[tuple[str, str]]:
        """The path, as text, and the key of every folder that has the name of an artifact, published or not."""
        for kind in self._kinds():
            yield from ((f"{kind}/{key}", key) for key in filter(_IS_KEY, os.listdir(kind)))  # noqa: PTH208

    def _refuse_format_1(self, path: Path) -> None:
        if (path / "step.json").exists() and (path / "provenance.json").exists():
            raise SurefootError(
                f"The store {self.root} was written by an older Surefoot, in a format that this one does not read "
                f"({path} has no {RECORD}). Name another place with --store, or remove it, and run again."
            )

    def steps(self) -> Rebuilt:
        """The Steps behind the artifacts, by key, each rebuilt when it is asked for; this needs their code."""
        return Rebuilt(self.specs())

    def specs(self) -> Callable[[str], Spec]:
        """What the Step of each artifact is, by key, read once: kind, version, fields. Raises where there is none."""
        made = self.made()

        @cache
        def spec_of(key: str) -> Spec:
            with suppress(FileNotFoundError, KeyError):
                return Artifact(made[key]).spec
            raise SurefootError(f"The Step {key} is not in the store {self.root}, but another holds it.")

        return spec_of

    def failures(self) -> dict[str, Path]:
        """The record of every Step whose last try failed, by its key."""
        ended = ((path, path.name.partition(".")) for path in self._entries())
        return {key: path for path, (key, _, rest) in ended if rest == "failed.json"}

    def leftovers(self) -> list[Path]:
        """Unfinished work, checkpoints, leases and failure records: everything that is not an artifact."""
        return [path for path in self._entries() if _IS_LEFT(path.name)]

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        """What a Step measured. Raises when it was not made."""
        return self.artifact(step).measurements

    def provenance(self, step: Step) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made a Step. Raises when it was not made."""
        return self.artifact(step).provenance

    def find(self, prefix: str) -> Path:
        """The artifact whose key begins with `prefix`. Raises when there is none, or more than one."""
        fitting = sorted(path for key, path in self.made().items() if key.startswith(prefix)) if prefix else []
        if len(fitting) != 1:
            how_many = "no artifact" if not fitting else f"{len(fitting)} artifacts"
            raise SurefootError(f"The store {self.root} has {how_many} whose key begins with '{prefix}'.")
        return fitting[0]

    def remove(self, step_path: Path) -> None:
        """Delete one artifact: renamed first, so that a half-deleted one is never seen."""
        remove_tree(step_path)

    def artifact(self, step: Step) -> "Artifact":
        """What a Step made. Raises when it was not made."""
        artifact = Artifact(self.path(step))
        if not (artifact.path / RECORD).is_file():
            raise SurefootError(
                f"{step.kind} {step.key} is not in the store {self.root}: run it first (surefoot run STUDY)."
            )
        return artifact

    def _entries(self) -> Iterator[Path]:
        for kind in [*self._kinds(), self.root / RUNS]:
            yield from kind.iterdir() if kind.is_dir() else ()

    def _kinds(self) -> list[Path]:
        here = self.root.iterdir() if self.root.is_dir() else ()
        return [kind for kind in here if not kind.name.startswith(".") and kind.is_dir()]


@dataclass(frozen=True)
class StoredInputs(Inputs):
    """The artifacts of a store as what Steps may read."""

    store: Store
    run: Path | None = None
    """The file of the run that uses them: what was made before it is compared with its digests, once a run."""

    def __getitem__(self, step: Step) -> Path:
        if not self.store.has(step):
            raise SurefootError(f"{step.kind} {step.key} was not made: a Step may read only Steps that it holds.")
        path = self.store.path(step)
        if self.run:
            _check_once(path, (path / RECORD).stat().st_mtime_ns, self.run)
        return path

    def measurements(self, step: Step) -> tuple[Measurement, ...]:
        """What a held Step measured."""
        return self.store.measurements(step)


@dataclass(frozen=True)
class Artifact:
    """A published directory, read as plain data: it needs none of the code that made it."""

    path: Path

    @cached_property
    def record(self) -> dict[str, Any]:
        """All that `record.json` says. Raises `DamagedError` when it is not as it was written."""
        return _read_record(self.path / RECORD)

    @property
    def spec(self) -> Spec:
        """What the Step is: kind, version and fields, the Steps in it as their keys."""
        return {name: self.record[name] for name in ("kind", "version", "fields", "unkeyed") if name in self.record}

    @property
    def key(self) -> str:
        """The key of the Step."""
        return self.path.name

    @property
    def kind(self) -> str:
        """The qualified public name of the Step's class."""
        return self.path.parent.name

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """What the Step measured."""
        return tuple(Measurement(**row) for row in self.record["measurements"])

    @property
    def provenance(self) -> dict[str, Any]:
        """Versions, machine, times and file digests of the run that made it."""
        return self.record["provenance"]

    @property
    def files(self) -> dict[str, tuple[int, str]]:
        """Size in bytes and SHA-256 of every file that the Step made, by relative path."""
        return {name: (size, digest) for name, (size, digest) in self.provenance["files"].items()}


def _check_defaults(step: Step, artifact: Artifact) -> None:
    fields = own_spec(step)["fields"]
    for name, made in artifact.spec["fields"].items():
        if fields.get(name, made) != made:
            raise SurefootError(
                f"{step.kind} {step.key} was made with {name} = {made}, and the default is {fields[name]} now, which "
                f"its key does not tell: give {type(step).__name__} the version {type(step).version + 1}, or put the "
                "default back."
            )


def write_record(
    directory: Path, step: Step, measurements: Iterable[Measurement], provenance: Mapping[str, Any] | None = None
) -> None:
    """Write the record of a finished directory, the last of its files: what the Step is, what it measured, its files.

    The first line holds the SHA-256 of all that follows it.
    """
    if (directory / RECORD).exists():
        raise SurefootError(f"A Step may not write a file named {RECORD}: the store keeps its own record there.")
    facts = {"key": step.key, **own_spec(step), "provenance": {**(provenance or {}), "files": file_digests(directory)}}
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},\n" for name, value in facts.items()]
    rest = f'{"".join(lines)}"measurements": {dump_measurements(measurements)}}}\n'.encode()
    first = f'{{"format": {_FORMAT}, "sha256": "{sha256(rest).hexdigest()}",\n'
    (directory / RECORD).write_bytes(first.encode() + rest)


def _read_record(path: Path) -> dict[str, Any]:
    """The record in a file. Raises `DamagedError` where it is damaged, or of another artifact than lies here."""
    try:
        content = path.read_bytes()
    except PermissionError as error:
        raise SurefootError(f"{path} cannot be read: {error.strerror}.") from error
    except IsADirectoryError:
        raise _damaged(path, "is a folder") from None
    first, _, rest = content.partition(b"\n")
    # The digest is looked for in the first line before anything is taken for what it says.
    if sha256(rest).hexdigest().encode() not in first:
        raise _damaged(path, "is not what was written")
    record = json.loads(content)
    if (record["kind"], record["key"]) != path.parts[-3:-1]:
        raise _damaged(path, f"is the record of {record['kind']} {record['key']}")
    return record


def _damaged(path: Path, what: str) -> DamagedError:
    error = DamagedError(
        f"{path} is damaged, it {what}: run its study again, which makes it anew, or remove it with "
        "surefoot verify --remove."
    )
    error.what = what
    return error


def damages(store: Store, keys: Iterable[str] | None = None) -> Iterator[tuple[Artifact, str, str]]:
    """Compare every file of these artifacts (or of all) with its record: the artifact, the file, and what is wrong."""
    asked = None if keys is None else {*keys}
    for artifact in [Artifact(Path(path)) for path, key in store.places() if asked is None or key in asked]:
        yield from ((artifact, file, what) for file, what in _damages_of(artifact))


def _damages_of(artifact: Artifact, *, contents: bool = True) -> Iterator[tuple[str, str]]:
    try:
        recorded = artifact.files
    except DamagedError as error:
        yield RECORD, error.what
        return
    except (FileNotFoundError, NotADirectoryError):
        if artifact.path.exists():  # it was not removed since it was listed
            yield RECORD, "is missing"
        return
    wrong = dict(_strange_sizes(artifact))
    yield from wrong.items()
    if not contents:
        return
    for name in [name for name in recorded if name not in wrong]:
        if digest_of(artifact.path / name) != recorded[name][1]:
            yield name, _OTHER
    # Whoever reads all the parts of an artifact would read it too; hidden files are those of systems.
    there = {item.relative_to(artifact.path).as_posix() for item in artifact.path.rglob("[!.]*") if not item.is_dir()}
    yield from ((name, "was not recorded") for name in sorted(there - {*recorded, RECORD}))


def _strange_sizes(artifact: Artifact) -> Iterator[tuple[str, str]]:
    for name, (size, _) in artifact.files.items():
        try:
            actual = os.stat(f"{artifact.path}/{name}").st_size  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            yield name, "is missing"
            continue
        if actual != size:
            yield name, f"has {actual:,} bytes, {size:,} were recorded"


def undamaged(file: Path) -> Path:
    """A file of an artifact as it was recorded, or one that is not there or was not recorded. Raises `DamagedError`."""
    with suppress(FileNotFoundError, NotADirectoryError):
        _check_file(file, file.stat().st_mtime_ns)
    return file


@lru_cache(maxsize=100_000)
def _check_file(file: Path, stamp: int) -> None:
    recorded = Artifact(file.parent).files.get(file.name)
    if recorded and digest_of(file) != recorded[1]:
        raise DamagedError(f"{file} {_OTHER}. {_CURE}")


@lru_cache(maxsize=100_000)
def _check_once(path: Path, stamp: int, run: Path) -> None:
    """Compare an artifact that was made before this run with its digests: once in all processes of the run."""
    mark = run.with_suffix(".checked") / path.name
    with suppress(FileNotFoundError):  # the run ended: nobody waits for the answer
        if stamp >= run.stat().st_mtime_ns or mark.exists():
            return
    for file, what in _damages_of(Artifact(path)):
        raise DamagedError(f"{path / file} {what}. {_CURE}")
    with suppress(OSError):  # it only saves time, and there is no place for it when the run has ended
        mark.touch()
