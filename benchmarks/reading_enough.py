"""How early `enough` decides, and how often as the full set does: replays of real systems in random order.

    SUREFOOT_DATA=... python benchmarks/reading_enough.py [examples.parquet ...]

The systems with published predictions on SQuAD, and any files of examples (`surefoot reading score --examples`): those
that share their questions are compared pair by pair too. A replay asks questions in random order and stops at the
first decision, or at 15 percent of the set ("not yet"). The full verdict is that of all questions.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

import numpy as np

from surefoot.examples import read_examples
from surefoot.language import read_predictions, read_questions, score_questions
from surefoot.stats import Asked, decided_at

OFFSETS = (-0.2, -0.1, -0.05, -0.03, -0.02, 0.02, 0.03, 0.05, 0.1, 0.2)
SYSTEMS = {
    "BERT ensemble": ("squad_v1.1_dev.json.gz", "bert_ensemble_v1.1.json.gz", "squad-1.1"),
    "logistic regression": ("squad_v1.1_dev.json.gz", "logistic_regression_v1.1.json.gz", "squad-1.1"),
    "BERT single (v2.0)": ("squad_v2.0_dev.json.gz", "bert_single_v2.0.json.gz", "squad-2.0"),
}


@dataclass(frozen=True)
class Wanted:
    """A question to a full set: is the mean of its scores above, below or within the margin of a bound?"""

    kind: str
    name: str
    scores: np.ndarray
    bound: float
    margin: float

    def verdict(self) -> str:
        gap = float(self.scores.mean()) - self.bound
        return "within" if abs(gap) <= self.margin else "above" if gap > 0 else "below"


def published() -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    folder, found = Path(os.environ["SUREFOOT_DATA"]) / "reading", {}
    for name, (data, predictions, rule) in SYSTEMS.items():
        scored = score_questions(
            read_questions(folder / data), read_predictions(folder / "predictions" / predictions), rule
        )
        found[name] = tuple(one.id for one in scored.questions), scored.f1
    return found


def of_files(paths: list[Path]) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    one_by_one = {str(path): read_examples({str(path): path}) for path in paths}
    return {name: (one.examples, one.scores[0]) for name, one in one_by_one.items()}


def questions(systems: dict[str, tuple[tuple[str, ...], np.ndarray]]) -> Iterator[Wanted]:
    """Every system against bounds near and far from its score, within two points of its score, and every pair."""
    for name, (_, f1) in systems.items():
        for offset in OFFSETS:
            bound = float(f1.mean()) + offset
            if 0 < bound < 1:
                yield Wanted("score against a bound", f"{name}, {-100 * offset:+g} points", f1, bound, 0.0)
        yield Wanted("score within 3 points of a bound", name, f1, round(float(f1.mean()), 2), 0.03)
    for (a, (ids, first)), (b, (others, second)) in combinations(systems.items(), 2):
        if sorted(ids) == sorted(others):
            place = {name: row for row, name in enumerate(others)}
            gap = first - second[[place[name] for name in ids]]
            for margin in (0.0, 0.02):
                yield Wanted(f"pair, margin {100 * margin:g} points", f"{a} - {b}", gap, 0.0, margin)


def replays(asked: Wanted, count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decided, right, and the share of the set asked (an undecided one asks all it may), of each replay."""
    n, least = len(asked.scores), -1.0 if asked.kind.startswith("pair") else 0.0
    generator, truth = np.random.default_rng(seed), asked.verdict()
    rows = []
    for _ in range(count):
        some = asked.scores[generator.permutation(n)[: int(share * n)]]
        side, at = decided_at(Asked(scores=some, of=n, least=least), bound=asked.bound, margin=asked.margin)
        rows.append((side != "not yet", side == truth, at / n))
    decided, right, used = np.array(rows).T
    return decided.astype(bool), right.astype(bool), used


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("examples", nargs="*", type=Path)
    options.add_argument("--replays", type=int, default=1000)
    options.add_argument("--share", type=float, default=0.15, help="the most that a replay may ask")
    given = options.parse_args()
    systems = of_files(given.examples) or published()
    by_kind: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    print("| question | full verdict | decided | as the full set | share asked: mean, 10th, 50th, 90th percentile |")
    print("|---|---|---|---|---|")
    for place, asked in enumerate(questions(systems)):
        found = replays(asked, given.replays, given.share, place)
        by_kind.setdefault(asked.kind, []).append(found)
        print(line(f"{asked.kind}: {asked.name}", asked.verdict(), *found), flush=True)
    print(line("**all**", "", *(np.concatenate(parts) for parts in zip(*chain(*by_kind.values()), strict=True))))
    for kind, found in by_kind.items():
        print(line(f"**{kind}**", "", *(np.concatenate(parts) for parts in zip(*found, strict=True))))


def line(name: str, verdict: str, decided: np.ndarray, right: np.ndarray, used: np.ndarray) -> str:
    as_full = f"{right[decided].mean():.3f}" if decided.any() else "-"
    spread = ", ".join(f"{100 * value:.1f}" for value in (used.mean(), *np.quantile(used, (0.1, 0.5, 0.9))))
    return f"| {name} | {verdict} | {decided.mean():.3f} | {as_full} | {spread} % |"


if __name__ == "__main__":
    main()
