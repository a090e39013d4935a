"""Prompts a second of a whole multi-hop run, against a server on loopback that answers at once.

Each question is asked direct, with its bridge given, reasoned and asking itself, its two sub-questions alone, and two
texts for their final answer: eight prompts. Beside it: the client with the same number of plain requests, and the
server's own limit (see `clients.py`). All in turns, in a process apart from the server.

    python benchmarks/multihop.py [questions] [rounds]
"""

import multiprocessing
import statistics
import sys
import tempfile
import time
from pathlib import Path

from clients import CONNECTIONS, limit, ours, serve
from surefoot.language import ClientOptions, Hop, MultiHopQuestion, ask_multihop, gap_table, open_client

PROMPTS = 8


def run(url: str, count: int, directory: Path) -> None:
    questions = [
        MultiHopQuestion(
            id=str(at),
            question=f"What is the capital of the birthplace of person {at}?",
            answers=("an answer",),
            hops=tuple(Hop(question=f"Question {hop} on person {at}?", answers=("an answer",)) for hop in range(2)),
        )
        for at in range(count // PROMPTS)
    ]
    with open_client(url, ClientOptions(connections=CONNECTIONS), cache=directory / "answers.sqlite") as client:
        gap_table(ask_multihop(client, questions))


def main(questions: int = 250, rounds: int = 3) -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    url, count = here.recv(), questions * PROMPTS
    rates: dict[str, list[float]] = {"multi-hop run": [], "client alone": [], "server's own limit": []}
    for _ in range(rounds):
        for name, work in zip(rates, (run, ours, limit), strict=True):
            with tempfile.TemporaryDirectory() as directory:
                start = time.perf_counter()
                work(f"{url}#m" if work is not limit else url, count, Path(directory))
                rates[name].append(count / (time.perf_counter() - start))
    server.terminate()
    best = statistics.median(rates["server's own limit"])
    for name, found in rates.items():
        print(
            f"{name:20} {statistics.median(found):8.0f} prompts a second, {statistics.median(found) / best:.2f} of it"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
