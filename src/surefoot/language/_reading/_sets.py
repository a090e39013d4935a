"""Steps that hand on questions: those of a file of the user, and a part or a sample of them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.language._reading._formats import Question
from surefoot.language._reading._questions import count_questions, read_questions, write_questions
from surefoot.stats import shuffled

QuestionPart = Literal["all", "train", "held-out"]


@dataclass(frozen=True, kw_only=True)
class QuestionFile(Step):
    """Questions of the user in a format that `read_questions` knows: `QuestionFile(path="dev.json").pinned()`.

    Files: `questions.json`. Measures what `count_questions` counts. Raises `SurefootError` for what cannot be read, and
    when the file has changed since the digest was taken.
    """

    path: str = unkeyed("")
    digest: str = ""

    def pinned(self) -> Self:
        """With the whole path and the digest of the file as it is now. Raises for what cannot be read."""
        path = Path(self.path).resolve()
        return replace(self, path=str(path), digest=digest_of(path))

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, check, write down in one format."""
        check_pinned(self)
        return _written(out, read_questions(self.path))


@dataclass(frozen=True, kw_only=True)
class QuestionSample(Step):
    """Questions out of others: a part by article, and of that `n` drawn by `seed`; None takes all.

    Whether an article is held out depends on its title and `split_seed` alone, so that one title is on the same side in
    every file (XQuAD has paragraphs of SQuAD); about the share `held_out` of the articles is. A larger `n` of one seed
    contains a smaller one. Files: `questions.json`, in the order of the source. Measures what `count_questions` counts.
    Raises `SurefootError` when a part is empty, and for more questions than there are.
    """

    questions: Step
    part: QuestionPart = "all"
    n: int | None = None
    seed: int = 0
    held_out: float = 0.2
    split_seed: int = 0

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, split, draw, write."""
        part = question_part(
            read_questions(inputs[self.questions]), self.part, held_out=self.held_out, split_seed=self.split_seed
        )
        return _written(out, part if self.n is None else _drawn(part, self.n, self.seed))


def question_part(
    questions: Sequence[Question], part: QuestionPart, *, held_out: float = 0.2, split_seed: int = 0
) -> list[Question]:
    """All questions, or those of the articles that are held out, or of the others; see `QuestionSample`."""
    if not 0 < held_out < 1:
        raise SurefootError(f"held_out is {held_out}: it is a share of the articles, between 0 and 1.")
    if part == "all":
        return list(questions)
    out = {one.article for one in questions if _place(one.article, split_seed) < held_out}
    found = [one for one in questions if (one.article in out) == (part == "held-out")]
    if not found:
        raise SurefootError(f"The part '{part}' has no article at held_out {held_out}: change it or split_seed.")
    return found


def _place(article: str, seed: int) -> float:
    """Where a title falls between 0 and 1."""
    return int.from_bytes(sha256(f"{seed}:{article}".encode()).digest()[:8]) / 2**64


def _drawn(questions: Sequence[Question], n: int, seed: int) -> list[Question]:
    if not 1 <= n <= len(questions):
        raise SurefootError(f"n is {n}: there are {len(questions)} questions to draw from.")
    chosen = set(shuffled((one.id for one in questions), seed)[:n])
    return [one for one in questions if one.id in chosen]


def _written(out: Path, questions: Sequence[Question]) -> list[Measurement]:
    write_questions(out, questions)
    counts = asdict(count_questions(questions))
    return [Measurement(metric=name, value=count, n=len(questions)) for name, count in counts.items()]
