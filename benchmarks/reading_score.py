"""How fast answers are scored: many at once against one question at a time, on real systems and on the same objects.

The peer is the definition of the official scripts, written anew: normalise, compare, count, for each right answer.
Both are measured in one process in turns, each time without the other's caches. Prints CPU milliseconds and the ratio.
Run: SUREFOOT_DATA=... python benchmarks/reading_score.py [repeats]
"""

import os
import re
import string
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from surefoot.language import Question, RuleName, read_predictions, read_questions, score_questions

SETS: tuple[tuple[str, str, RuleName], ...] = (
    ("squad_v1.1_dev", "bert_ensemble_v1.1", "squad-1.1"),
    ("squad_v1.1_dev", "logistic_regression_v1.1", "squad-1.1"),
    ("squad_v2.0_dev", "bert_single_v2.0", "squad-2.0"),
)
MARKS = set(string.punctuation)


def normal(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces."""
    letters = "".join(mark for mark in text.lower() if mark not in MARKS)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", letters).split())


def exact(answer: str, gold: str) -> bool:
    """Whether two answers are alike."""
    return normal(answer) == normal(gold)


def overlap(answer: str, gold: str, both_empty: float) -> float:
    """F1 over words."""
    left, right = normal(answer).split(), normal(gold).split()
    if not left or not right:
        return both_empty * (left == right)
    common = sum((Counter(left) & Counter(right)).values())
    if not common:
        return 0.0
    precision, recall = common / len(left), common / len(right)
    return 2 * precision * recall / (precision + recall)


def one_at_a_time(questions: Sequence[Question], answers: Mapping[str, str], rule: str) -> tuple[float, float]:
    """Mean exact match and F1."""
    second = rule == "squad-2.0"
    sums, total = [0.0, 0.0], 0
    for one in questions:
        answer = answers.get(one.id)
        if answer is None:
            total += not second
            continue
        golds = [gold for gold in one.answers if normal(gold)] or [""] if second else one.answers
        sums[0] += max(exact(answer, gold) for gold in golds)
        sums[1] += max(overlap(answer, gold, float(second)) for gold in golds)
        total += 1
    return sums[0] / total, sums[1] / total


def main(repeats: int) -> None:
    """Measure in turns."""
    folder = Path(os.environ["SUREFOOT_DATA"]) / "reading"
    for data, system, rule in SETS:
        questions = read_questions(folder / f"{data}.json.gz")
        predictions = read_predictions(folder / "predictions" / f"{system}.json.gz")
        own, peer, told = [], [], (0.0, 0.0)
        for _ in range(repeats):
            start = time.process_time()
            found = score_questions(questions, predictions, rule)
            middle = time.process_time()
            told = one_at_a_time(questions, predictions.answers, rule)
            own.append(middle - start)
            peer.append(time.process_time() - middle)
            assert max(abs(found.exact.mean() - told[0]), abs(found.f1.mean() - told[1])) < 1e-12
        ratio = median(slow / fast for slow, fast in zip(peer, own, strict=True))
        print(
            f"{system:26} {rule:10} {100 * told[0]:8.4f} {100 * told[1]:8.4f}  "
            f"at once {1000 * median(own):6.1f} ms  one at a time {1000 * median(peer):7.1f} ms  ratio {ratio:.1f}"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 11)
