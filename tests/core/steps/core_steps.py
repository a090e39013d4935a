"""Steps for the tests of core, in a file that workers import by name, as they import a user's study."""

import math
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from surefoot.core import Inputs, Measurement, Step, SurefootError, report_progress, resume_directory, unkeyed


@dataclass(frozen=True, kw_only=True)
class Number(Step):
    """Measures its value, and says so in a file that stands for a side effect."""

    value: float
    label: str = ""
    log: str = ""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        note(self.log, f"{self.value}")
        (out / "number.txt").write_text(f"{self.value!r} {self.label}")
        return (Measurement(metric="value", value=self.value, n=1, task=self.label),)


@dataclass(frozen=True, kw_only=True)
class Pair(Step):
    """Holds two Steps: forty of them in a row have more paths than any memory."""

    one: Step
    other: Step

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return ()


@dataclass(frozen=True, kw_only=True)
class Located(Step):
    """Stands for a user's file, known by its digest."""

    digest: str
    path: str = unkeyed("")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        return (Measurement(metric="located", value=1, n=1),)


@dataclass(frozen=True, kw_only=True)
class Beholder(Step):
    """Says where the file of another Step lies."""

    of: Located

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        (out / "path.txt").write_text(self.of.path)
        return ()


@dataclass(frozen=True, kw_only=True)
class Wave(Step):
    """Arithmetic whose last bits would show any difference between engines."""

    frequency: float
    terms: int = 500
    cost_fields: ClassVar[tuple[str, ...]] = ("terms",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        total = 0.0
        for term in range(1, self.terms):
            total += math.sin(self.frequency * term) / term
        (out / "deep" / "er").mkdir(parents=True)
        (out / "deep" / "er" / "wave.txt").write_text(total.hex())
        yield Measurement(metric="wave", value=total, n=self.terms, stderr=math.pi / self.terms, task="größe 量")
        yield Measurement(metric="wave", value=-total, n=self.terms, low=-1.0, high=1e-300, group="inverse")


@dataclass(frozen=True, kw_only=True)
class Total(Step):
    """The sum of what other Steps measured."""

    parts: tuple[Step, ...]
    scale: float = 1.0
    log: str = ""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        note(self.log, "total")
        values = [measured.value for part in self.parts for measured in inputs.measurements(part)]
        lines = [path.name for part in self.parts for path in sorted(inputs[part].iterdir())]
        (out / "files.txt").write_text("\n".join(lines))
        return (Measurement(metric="total", value=self.scale * sum(values), n=len(values)),)


@dataclass(frozen=True, kw_only=True)
class Slow(Step):
    """Writes its files in many small pieces, so that a kill finds it in the middle of something."""

    name: int
    seconds: float = 0.02
    after: Step | None = None
    log: str = ""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        note(self.log, f"begin {self.name}")
        for piece in range(10):
            (out / f"{piece}.txt").write_text("x" * 1000)
            report_progress(out, piece + 1, 10, loss=1.0 / (piece + 1))
            time.sleep(self.seconds / 10)
        note(self.log, f"end {self.name}")
        return tuple(Measurement(metric="slow", value=self.name + piece, n=10, replicate=piece) for piece in range(3))


@dataclass(frozen=True, kw_only=True)
class Fragile(Step):
    """Fails in a way of choice, until the file `cure` is there."""

    way: Literal["raise", "exit", "nan", "none", "text", "record", "link", "module", "said", "kill", "leave", "wait"]
    place: int = 0
    cure: str = ""
    log: str = ""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        note(self.log, self.way)
        if self.cure and Path(self.cure).exists():
            return (Measurement(metric="cured", value=1.0, n=1),)
        return FAILURES[self.way](out)


@dataclass(frozen=True, kw_only=True)
class Trained(Step):
    """Trains in ten epochs with a checkpoint after each; dies at epoch `dies_at` while the file `fuse` is there."""

    dies_at: int
    fuse: str
    log: str

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        checkpoint = resume_directory(out) / "epoch.txt"
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for epoch in range(begin, 10):
            if epoch == self.dies_at and Path(self.fuse).exists():
                Path(self.fuse).unlink()
                os.kill(os.getpid(), signal.SIGKILL)
            note(self.log, f"epoch {epoch}")
            draft = checkpoint.with_suffix(".tmp")
            draft.write_text(str(epoch + 1))
            draft.replace(checkpoint)
        return (Measurement(metric="epochs", value=10.0, n=10),)


@dataclass(frozen=True, kw_only=True)
class Needy(Step):
    """Needs a module that is not installed."""

    name: str = "x"
    requires: ClassVar[tuple[str, ...]] = ("lightgbm_of_the_tests.sub",)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        raise AssertionError("must not be reached")


@dataclass(frozen=True, kw_only=True)
class Filling(Step):
    """Writes so many bytes."""

    megabytes: float

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        (out / "big.bin").write_bytes(b"\1" * int(self.megabytes * 2**20))
        return (Measurement(metric="size", value=self.megabytes, n=1),)


@dataclass(frozen=True, kw_only=True)
class Curious(Step):
    """Reads a Step that it does not hold: an undeclared dependency."""

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        inputs[Number(value=123.0)]
        return ()


def note(log: str, text: str) -> None:
    """One line in a file, whole even when many processes write."""
    if log:
        descriptor = os.open(log, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, f"{text}\n".encode())
        os.close(descriptor)


def _raise(out: Path) -> Iterable[Measurement]:
    raise ValueError("the kettle boiled over")


def _exit(out: Path) -> Iterable[Measurement]:
    sys.exit("goodbye")


def _nan(out: Path) -> Iterable[Measurement]:
    return (Measurement(metric="bad", value=math.nan, n=1),)


def _none(out: Path) -> Iterable[Measurement]:
    return None  # type: ignore[return-value]


def _text(out: Path) -> Iterable[Measurement]:
    return ("a text",)  # type: ignore[return-value]


def _record(out: Path) -> Iterable[Measurement]:
    (out / "record.json").write_text("{}")
    return ()


def _link(out: Path) -> Iterable[Measurement]:
    (out / "link").symlink_to("/etc/hostname")
    return ()


def _module(out: Path) -> Iterable[Measurement]:
    import resvg_py.not_there  # type: ignore[import-not-found]

    return (resvg_py,)  # type: ignore[return-value]


def _said(out: Path) -> Iterable[Measurement]:
    raise SurefootError("row 7 of labels.csv has no class: add one")


def _kill(out: Path) -> Iterable[Measurement]:
    os.kill(os.getpid(), signal.SIGKILL)
    return ()


def _leave(out: Path) -> Iterable[Measurement]:
    os._exit(3)


def _wait(out: Path) -> Iterable[Measurement]:
    while True:
        time.sleep(0.05)


FAILURES = {
    "raise": _raise,
    "exit": _exit,
    "nan": _nan,
    "none": _none,
    "text": _text,
    "record": _record,
    "link": _link,
    "module": _module,
    "said": _said,
    "kill": _kill,
    "leave": _leave,
    "wait": _wait,
}
