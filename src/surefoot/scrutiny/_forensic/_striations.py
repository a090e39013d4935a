"""Toolmarks: striations of tools, simulated, and how well two of them match at their best shift."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter1d

from surefoot.core import SurefootError

_LENGTH, _USUAL = 400, {"feature": 0.0, "noise": 0.3, "wear": 0.0}


def striation_score(evidence: Mapping[str, Any], seed: int = 0) -> dict[str, object]:
    """The largest correlation of two profiles, `first` and `second`, over shifts of up to a fifth of their length."""
    x, y = (np.asarray(evidence[name], dtype=np.float64) for name in ("first", "second"))
    if x.shape != y.shape or x.ndim != 1 or len(x) < 20 or min(np.ptp(x), np.ptp(y)) == 0:
        raise SurefootError("Two profiles of one length, 20 points or more, and not flat, are needed.")
    reach, n = len(x) // 5, len(x)
    shifts = range(-reach, reach + 1)
    found = [float(np.corrcoef(x[max(0, s) : n + min(0, s)], y[max(0, -s) : n - max(0, s)])[0, 1]) for s in shifts]
    best = int(np.argmax(found))
    return {"score": found[best], "shift": shifts[best]}


def simulate_striations(condition: Mapping[str, Any], seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two marks of one tool (`same`) or of two tools of one make, and the truth.

    The condition may have `feature` (the share of relief that is of the make: a periodic class characteristic), `noise`
    (of a mark, relative to the relief), and `wear` (the share of the tool's own relief that is new at the second mark).
    """
    feature, noise, wear = (float(condition.get(name, usual)) for name, usual in _USUAL.items())
    smooth = gaussian_filter1d(np.random.default_rng(seed).standard_normal((5, _LENGTH)), 3)
    first, other, fresh, *spoilt = (smooth - smooth.mean(axis=1)[:, None]) / smooth.std(axis=1)[:, None]
    same = bool(condition.get("same", False))
    second = np.sqrt(1 - wear) * (first if same else other) + np.sqrt(wear) * fresh
    make = np.sqrt(2 * feature) * np.sin(2 * np.pi * np.arange(_LENGTH) / 40)
    marks = [np.sqrt(1 - feature) * one + make + noise * by for one, by in zip((first, second), spoilt, strict=True)]
    return {"first": marks[0].round(6).tolist(), "second": marks[1].round(6).tolist()}, {"same": same}
