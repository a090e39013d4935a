"""Configurations an hour of the Adult LightGBM grid: one process a configuration, against one Step of shared fits.

Run: python benchmarks/tabular_sweep.py [ensembles]

The peer is what the paper's code does for each configuration: start Python, import the libraries, read and encode the
table, fit one model, and call fairlearn's MetricFrame once for the validation and once for the test part. Both sides
run here in turn, on one core, in CPU seconds.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from surefoot.core import Store, open_pool, run
from surefoot.tabular import Design, PublicTable, TableFits, full_grid

PEER = """
import json, sys
import lightgbm, numpy, pandas, torch, fairlearn
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import StandardScaler
settings, path = json.loads(sys.argv[1]), sys.argv[2]
table = pandas.read_csv(path)
labels = table.pop("label__").to_numpy()
sides = table[["race", "sex"]].copy()
encoded = pandas.get_dummies(table, drop_first=True).astype("float64")
held = numpy.random.default_rng(0).random(len(labels)) < 0.2
x = StandardScaler().fit(encoded[~held]).transform(encoded)
model = lightgbm.LGBMClassifier(**settings, n_jobs=1, verbosity=-1).fit(x[~held], labels[~held])
rates = {"a": accuracy_score, "s": selection_rate, "t": true_positive_rate, "f": false_positive_rate}
rows = numpy.flatnonzero(held)
for part in (rows[::2], rows[1::2]):
    called = model.predict(x[part])
    frame = MetricFrame(metrics=rates, y_true=labels[part], y_pred=called, sensitive_features=sides.iloc[part])
    frame.by_group, frame.overall, frame.difference()
"""


def children_seconds() -> float:
    """CPU seconds of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_peer_table(path: Path) -> None:
    """Adult as one CSV with its label, for the peer to read each time."""
    from surefoot.tabular._tables._database import database

    from surefoot.tabular._tables._recipes import RECIPES

    with database() as connection:
        RECIPES["adult"].load(connection)
        connection.execute(
            "COPY (SELECT * EXCLUDE (education, income, official), (income LIKE '>50K%')::INTEGER AS label__ "
            f"FROM raw) TO '{path}' (HEADER)"
        )


def main(ensembles: int) -> None:
    """Time both on the same random part of the grid, and print configurations an hour and the ratio."""
    grid = full_grid("lightgbm")
    drawn = random.Random(1).sample(range(0, len(grid), 4), ensembles)
    chosen = tuple(each for place in drawn for each in grid[place : place + 4])
    with tempfile.TemporaryDirectory() as place:
        store, design = Store(Path(place, "store")), Design(table=PublicTable(name="adult"))
        with open_pool("here") as pool:
            list(run([design], store, pool))
            begun = time.process_time()
            events = list(run([TableFits(design=design, learner="lightgbm", configurations=chosen)], store, pool))
            ours = (time.process_time() - begun) / len(chosen)
        assert events[-1].kind == "made", events[-1].error
        csv = Path(place, "adult.csv")
        write_peer_table(csv)
        before = children_seconds()
        for each in chosen[::4][:4]:
            subprocess.run([sys.executable, "-W", "ignore", "-c", PEER, json.dumps(dict(each)), str(csv)], check=True)
        theirs = (children_seconds() - before) / min(4, len(chosen) // 4)
    print(f"{len(chosen)} of the {len(full_grid('lightgbm'))} configurations of LightGBM on Adult")
    print(f"a process a configuration: {theirs:.2f} CPU s each, {3600 / theirs:,.0f} an hour and core")
    print(f"one Step: {ours:.3f} CPU s each, {3600 / ours:,.0f} an hour and core; {theirs / ours:.1f} times")
    minutes = len(full_grid("lightgbm")) * ours / 120
    print(f"the full grid at this rate on two cores: {minutes:.0f} minutes")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
