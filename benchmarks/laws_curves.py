"""Extrapolation of 92 published learning curves: each form beside the automatic choice and the average of forms.

    SUREFOOT_DATA=... python benchmarks/laws_curves.py

The split into training and test is the benchmark's own (arXiv 2209.06640, tables as in arXiv 2410.11840, MIT). Score:
root mean square error of log error on the held-out part, mean over the curves of a domain. Best single published
form on the image curves: 0.0396 (BNSL, one break). Coverage: share of held-out points inside the 95 percent
band of the average by held-out error, and inside the band of the chosen form by its residuals.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from surefoot.stats import (
    ONE_VARIABLE_FORMS,
    band,
    choose_form,
    fit_law,
    held_out_half_width,
    predict,
    predict_average,
    rolling_hold_out,
)


def curves(folder: Path) -> dict[tuple[str, str, str], np.ndarray]:
    """Columns x, y, training by (domain, task, model)."""
    rows = defaultdict(list)
    for name, opener in (("learning_curves_vision.csv.gz", gzip.open), ("learning_curves_language.csv", open)):
        with opener(folder / name, "rt") as file:
            for row in csv.DictReader(file):
                point = (float(row["Seen Examples"]), float(row["Loss"]), float(row["Training"]))
                rows[row["Domain"], row["Task"], row["Model"]].append(point)
    return {key: np.array(sorted(points)) for key, points in rows.items()}


def scores(points: np.ndarray) -> dict[str, float]:
    """Error of each form, of the chosen form, and of the average, and the coverage of the band."""
    train, test = points[points[:, 2] == 1], points[points[:, 2] == 0]
    x, y = train[:, 0], train[:, 1]
    choice = choose_form(rolling_hold_out(x, y))
    laws = {name: fit_law(x, y, name) for name in ONE_VARIABLE_FORMS if name in choice.weights}
    guesses = {name: predict(law, test[:, 0]) for name, law in laws.items()}
    guesses["chosen"] = guesses[choice.form]
    guesses["average"] = predict_average(laws, choice.weights, test[:, 0])
    out = {name: float(np.sqrt(np.mean(np.log(guess / test[:, 1]) ** 2))) for name, guess in guesses.items()}
    low, high = band(laws[choice.form], test[:, 0])
    half = held_out_half_width(choice, np.log10(test[:, 0] / x.max()))
    far = np.abs(np.log(guesses["average"] / test[:, 1]))
    residual_band = float(np.mean((low <= test[:, 1]) & (test[:, 1] <= high)))
    return out | {"coverage": float(np.mean(far <= half)), "by residuals": residual_band}


def main() -> None:
    """Print mean and median by domain."""
    found = defaultdict(list)
    for key, points in curves(Path(os.environ["SUREFOOT_DATA"]) / "laws").items():
        found[key[0]].append(scores(points))
    columns = [*ONE_VARIABLE_FORMS, "chosen", "average", "coverage", "by residuals"]
    for statistic, name in ((np.nanmean, "mean"), (np.nanmedian, "median")):
        print(f"{name:8s}" + "".join(f"{column:>15s}" for column in columns))
        for domain, rows in found.items():
            values = [statistic([row.get(column, np.nan) for row in rows]) for column in columns]
            print(f"{domain} ({len(rows)})".ljust(8) + "".join(f"{value:15.4f}" for value in values))


if __name__ == "__main__":
    main()
