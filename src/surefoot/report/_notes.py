"""What the intervals of a report are, in sentences that stand in the page and in the documentation."""

_TEXT = """
Every interval is a 95 percent interval
If the whole measurement were repeated many times, about 95 of 100 intervals made this way would hold the true value.
It is a statement about the method: a single interval either holds the value or does not.

Shares: accuracy, error, recall
An accuracy is k right answers of n examples; its interval is the Wilson score interval (Wilson 1927), which stays
between 0 and 100 percent and keeps its coverage for small n and for shares close to 0 or 1. It holds the noise of
having drawn these n examples and no others. It does not hold the noise of training: for that, a model is trained
again with other seeds, and the spread is shown beside it.

Means
The mean of a few models or seeds has Student's t interval. The mean of many values without a known shape has a
bias-corrected, accelerated bootstrap interval (Efron 1987); values of one run are drawn together, so that a run
counts once. Fewer than four independent values are never bootstrapped.

Differences between two models
Two models that answered the same examples are compared example by example. The interval is that of the mean of the
paired differences, and McNemar's test counts the examples that only one of them got right. Overlap of two separate
intervals is no test: paired intervals are narrower.

Laws and their bands
A scaling law is a fit on logarithmic axes. The interval of its exponent comes from the fit's own t distribution when
there are few points and from a bootstrap over runs when there are many. The band around a curve is for the curve
itself, not for the next point, unless the caption says that it is a prediction band. Hollow points were held out: the
fit has not seen them.

Robustness lines and effective robustness
Accuracy under shift against accuracy in distribution is close to a line after the logit or probit of both, so the
line is fitted there and the axes are labelled in percent. Effective robustness is how far a model lies above the
line, in percentage points of accuracy under shift (Taori et al. 2020, arXiv 2007.00644). Its interval holds both the
model's own sampling noise and the uncertainty of the line.

Verdicts
A claim is supported when the whole interval of its effect lies on the claimed side, contradicted when the whole
interval lies on the other side, and undecided when the interval holds the bound (imprecise, when it is also wider
than the claim needs). It is unmeasured when measurements are missing, and broken when its check fails. Undecided is
not evidence of no effect: look at how wide the interval is.

A standard error alone
Where a measurement came with a standard error and no interval, the page shows the value with 1.96 standard errors to
both sides (a normal approximation), and a check names how many there are.
"""
METHOD_NOTES: tuple[tuple[str, str], ...] = tuple(
    (title, " ".join(text.split("\n")))
    for title, _, text in (note.partition("\n") for note in _TEXT.strip().split("\n\n"))
)
"""Title and text of each note."""
