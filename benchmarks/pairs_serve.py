"""Milliseconds a question to the search page over 50,000 vectors of 512 numbers, as a browser would see them.

Run: python benchmarks/pairs_serve.py [ROUNDS]. CPU time of the whole process, client and server, without the model of
the query: a row of the set is asked for more like it. The target is 100 ms. Beside it: the search alone.
"""

import json
import socket
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np

from pairs_search import clusters, write
from surefoot.pairs import PairEncoder, Recipe, Source, build_index, make_parts, open_index, search_pairs, search_server

QUESTIONS: dict[str, dict[str, Any]] = {
    "24 results": {},
    "near duplicates folded": {"fold": 0.94},
    "a facet": {"facets": {"uid": {"has": "ab"}}},
    "240 results": {"k": 240},
}


def main() -> None:
    """Print a line a kind of question."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    faiss.omp_set_num_threads(1)
    vectors = clusters(50_000, 512).astype(np.float16)
    with TemporaryDirectory() as place:
        root = Path(place)
        make_parts("embed", Recipe(name="embed", rules={"digest": "x"}), [Source(path=Path("a"), sha256="a")],
                   root / "e", lambda source, out: write(vectors, out))  # fmt: skip
        build_index(root / "e", root / "i", kind="exact")
        nobody = PairEncoder(
            name="none", digest="x", dimension=512, prepare=np.asarray, images=np.stack, texts=np.array
        )
        with open_index(root / "i") as index, socket.create_server(("127.0.0.1", 0)) as line:
            before = time.process_time()
            for at in range(rounds):
                search_pairs(index, vectors[at].astype(np.float32), k=24)
            print(f"the search alone: {1000 * (time.process_time() - before) / rounds:.1f} ms")
            server = search_server("bench", index, nobody)
            thread = threading.Thread(target=server.run, args=([line],))
            thread.start()
            while not server.started:
                time.sleep(0.01)
            for name, more in QUESTIONS.items():
                before = time.process_time()
                for at in range(rounds):
                    ask(line.getsockname()[1], {"ids": [at], "fold": None} | more)
                print(f"{name}: {1000 * (time.process_time() - before) / rounds:.1f} ms a question")
            server.should_exit = True
            thread.join()


def ask(port: int, told: dict[str, Any]) -> None:
    """One question, its answer read to the end."""
    line = HTTPConnection("127.0.0.1", port)
    line.request("POST", "/api/search", json.dumps(told))
    answer = line.getresponse()
    if answer.status != 200 or not json.loads(answer.read())["results"]:
        raise RuntimeError(f"the server answers {answer.status}")
    line.close()


if __name__ == "__main__":
    main()
