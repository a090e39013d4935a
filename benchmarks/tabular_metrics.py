"""All group metrics of one configuration in one pass, against fairlearn's MetricFrame in the same process.

Run: python benchmarks/tabular_metrics.py [rows]
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
from sklearn.metrics import accuracy_score

from surefoot.stats import disparities, group_metrics, worst_group


def cpu_seconds(function: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    begun = time.process_time()
    function()
    return time.process_time() - begun


def main(rows: int) -> None:
    """Interleave both, five times, and print the medians and their ratio."""
    generator = np.random.default_rng(0)
    labels, sensitive = generator.integers(0, 2, rows), generator.integers(0, 2, (rows, 2))
    scores = np.clip(0.3 * labels + 0.7 * generator.random((64, rows)), 0, 1)
    codes = sensitive @ [2, 1]
    peers = {
        "accuracy": accuracy_score,
        "selection_rate": selection_rate,
        "true_positive_rate": true_positive_rate,
        "false_positive_rate": false_positive_rate,
        "count": lambda truth, called: len(truth),
    }

    def theirs() -> object:
        frame = MetricFrame(metrics=peers, y_true=labels, y_pred=scores[0] >= 0.5, sensitive_features=sensitive)
        return frame.by_group, frame.overall, frame.difference()

    def ours(count: int = 1) -> object:
        found = group_metrics(labels, scores[:count], codes)
        return worst_group(found), disparities(found)

    taken = [(cpu_seconds(theirs), cpu_seconds(ours), cpu_seconds(lambda: ours(64)) / 64) for _ in range(5)]
    peer, one, many = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{rows} rows, 4 groups: MetricFrame (5 rates) {1000 * peer:.1f} ms CPU")
    print(f"group_metrics, one classifier (4 rates, 5 losses, intervals): {1000 * one:.2f} ms, {peer / one:.0f} times")
    print(f"group_metrics, 64 classifiers at once: {1000 * many:.2f} ms each, {peer / many:.0f} times")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
