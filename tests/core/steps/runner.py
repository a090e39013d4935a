"""Runs one of the small studies below as the command line does: runner.py STORE STUDY LOG WORKERS [POOL] [retry]."""

import signal
import sys
from pathlib import Path

from core_steps import Fragile, Slow, Total, Trained

from surefoot.core import Step, Store, SurefootError, open_pool, run


def slow(log: str) -> tuple[Step, ...]:
    """Twelve Steps in two layers and their total."""
    first = tuple(Slow(name=name, log=log) for name in range(8))
    second = tuple(Slow(name=100 + place, after=step, log=log) for place, step in enumerate(first[:4]))
    return (*second, Total(parts=(*first, *second)))


STUDIES = {
    "slow": slow,
    "waiting": lambda log: (Fragile(way="wait", log=log), Fragile(way="wait", cure="/none", log=log)),
    "killed": lambda log: (Fragile(way="kill", cure=f"{log}.cure", log=log), *slow(log)),
    "left": lambda log: (Fragile(way="leave", cure=f"{log}.cure", log=log), *slow(log)),
    "failing": lambda log: tuple(Fragile(way="raise", log=log, place=place) for place in range(12)),
    "trained": lambda log: (Trained(dies_at=6, fuse=f"{log}.fuse", log=log),),
}


def main() -> int:
    # A background job of a shell ignores SIGINT and hands that down; a person at a terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    root, study, log, workers = sys.argv[1:5]
    pool = sys.argv[5] if len(sys.argv) > 5 else "processes"
    try:
        with open_pool(pool, int(workers)) as executor:
            for event in run(STUDIES[study](log), Store(Path(root)), executor, retry=sys.argv[6:] == ["retry"]):
                print(event.kind, event.step.kind, event.step.key, event.error, flush=True)
    except SurefootError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
