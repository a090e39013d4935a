"""Questions a second of a span model: `span_answers` against the plain loop over transformers, in CPU seconds.

Run: python benchmarks/reading_speed.py SQUAD.json [QUESTIONS] [ROUNDS]. One process, one thread, MiniLM with a head at
random. The plain loop is what the guides show: batches of 16 windows in the order of the file, padded to 384 tokens,
the 20 best starts with the 20 best ends of each window tried in Python. Both see the same windows; answers are
compared.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from surefoot.core import Store, StoredInputs
from surefoot.language import Encoder, MiniLM, Question, load_encoder, read_questions, span_answers


def plain(encoder: Encoder, questions: Sequence[Question], best: int = 20, longest: int = 30) -> list[str]:
    """The answers by the plain loop."""
    found: dict[int, tuple[float, str]] = {}
    cut = encoder.tokenizer(
        [one.question.strip() for one in questions], [one.context for one in questions], truncation="only_second",
        max_length=384, stride=128, return_overflowing_tokens=True, return_offsets_mapping=True, padding="max_length",
    )  # fmt: skip
    owner = cut["overflow_to_sample_mapping"]
    for begin in range(0, len(owner), 16):
        rows = range(begin, min(begin + 16, len(owner)))
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.inference_mode():
            told = encoder.model(**{name: torch.tensor([cut[name][row] for row in rows]) for name in names})
        for row, start, end in zip(rows, told.start_logits.numpy(), told.end_logits.numpy(), strict=True):
            inside = [part == 1 for part in cut.sequence_ids(row)]
            for first in np.argsort(start)[-1 : -best - 1 : -1]:
                for last in np.argsort(end)[-1 : -best - 1 : -1]:
                    if inside[first] and inside[last] and first <= last < first + longest:
                        score = float(start[first] + end[last])
                        if score > found.get(owner[row], (-np.inf, ""))[0]:
                            offsets = cut["offset_mapping"][row]
                            text = questions[owner[row]].context[offsets[first][0] : offsets[last][1]]
                            found[owner[row]] = score, text.strip()
    return [found.get(place, (0.0, ""))[1] for place in range(len(questions))]


def main() -> None:
    """Measure in turn, best of the rounds."""
    asked = read_questions(sys.argv[1])
    count, rounds = (int(one) for one in [*sys.argv[2:], *("200", "3")[len(sys.argv) - 2 :]])
    questions = asked[:: max(1, len(asked) // count)][:count]
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        list(MiniLM().make(Path(folder), StoredInputs(Store(Path(folder)))))
        encoder = load_encoder(Path(folder))
    ways = {"plain": plain, "surefoot": lambda *given: [one.text for one in span_answers(*given)]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[str]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            begun = time.process_time()
            answers[name] = way(encoder, questions)
            seconds[name].append(time.process_time() - begun)
    same = sum(one == other for one, other in zip(*answers.values(), strict=True))
    for name, taken in seconds.items():
        print(f"{name}: {count / min(taken):.1f} questions a CPU second")
    print(f"ratio {min(seconds['plain']) / min(seconds['surefoot']):.2f}; {same} of {count} answers are the same")


if __name__ == "__main__":
    main()
