"""`surefoot fit mixture`: which shares of sources to train on, from a table of runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from surefoot.cli._fit._scaling import TABLE
from surefoot.cli._output import Format, emit, say, say_remarks
from surefoot.core import SurefootError, Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from surefoot.laws import BestShares, MixtureLaw, ResultTable

    Floats = NDArray[np.float64]

_Names = tuple[str, ...]
_ROUNDED = 0.02
"""What shares that were rounded may miss their sum by."""


def mixture(
    table: Annotated[Path, Parameter(help=TABLE)],
    /,
    *,
    shares: Annotated[tuple[str, ...], Parameter(help="A column a source: its share or count.", consume_multiple=True)],
    size: Annotated[str, Parameter(help="The column of how many examples a run was trained on.")],
    score: Annotated[str, Parameter(help="The column of the accuracy, a fraction.")],
    chance: Annotated[float, Parameter(help="What guessing scores: 1 / classes.")],
    shift: Annotated[str | None, Parameter(help="The column of the test that a row is of.")] = None,
    target: Annotated[str | None, Parameter(help="The test to choose shares for, a value of --shift.")] = None,
    draw: Annotated[
        tuple[str, ...],
        Parameter(help="Columns whose rows of one value share a draw: a seed, the data.", consume_multiple=True),
    ] = (),
    plan: Annotated[str | None, Parameter(help="For how many examples, as 1M. Default: the largest size.")] = None,
    mix: Annotated[
        tuple[str, ...], Parameter(help="Mixtures to predict instead: noto=3,twemoji=1.", consume_multiple=True)
    ] = (),
    where: Annotated[
        tuple[str, ...], Parameter(help="Keep rows with COLUMN=PATTERN or COLUMN!=PATTERN.", consume_multiple=True)
    ] = (),
    seed: Annotated[int, Parameter(help="Seed of the draws that say how sure it is.")] = 0,
    format: Annotated[Format | None, Parameter(help="Default: text on a terminal, TSV in a pipe.")] = None,
    out: Annotated[Path | None, Parameter(help="A file: .tsv, .csv, .json, .md, .tex, .parquet or .txt.")] = None,
) -> None:
    """Which shares of the sources score highest on a test, how sure that is, and what a mixture will score."""
    from surefoot.laws import best_shares, places_of

    asked = places_of((plan,), ("--plan",)).item() if plan else 0.0
    laws = _laws(table, where, shares, size, score, chance=chance, shift=shift, draw=draw)
    sizes = [size for law in laws.values() for size in law.sizes]
    counts = asked or max(sizes)
    if not min(sizes) <= counts <= max(sizes):
        say(f"warning: {counts:,.0f} examples lie beyond the runs, of {min(sizes):,.0f} to {max(sizes):,.0f}.")
    if mix:
        emit(_predicted(laws, counts, mix), format, out)
        return
    if (len(laws) > 1 and target is None) or (target is not None and target not in laws):
        raise SurefootError(f"Name with --target the test to choose shares for: {', '.join(laws)}.")
    law = laws[target] if target is not None else next(iter(laws.values()))
    found = best_shares(law, counts, seed=seed)
    _say(law, found, counts)
    for name, other in laws.items():
        if other is not law:
            say(_elsewhere(name, other, found, counts))
    rows = zip(law.sources, found.shares.tolist(), found.low.tolist(), found.high.tolist(), strict=True)
    emit(Table(("source", "share", "low", "high"), tuple(rows)), format, out)


def _laws(
    table: Path,
    where: _Names,
    shares: _Names,
    size: str,
    score: str,
    *,
    chance: float,
    shift: str | None,
    draw: _Names,
) -> "dict[str, MixtureLaw]":
    """The law of each test, by its name."""
    from surefoot.laws import fit_mixture

    laws: dict[str, MixtureLaw] = {}
    faults: dict[str, str] = {}
    repeats = 0
    columns = (*shares, size, score)
    for name, runs in _by_test(table, where, columns, shift).items():
        numbers, used = _usable(runs, columns, chance, table)
        known = (numbers[:, :-2], numbers[:, -2], numbers[:, -1])
        draws = _draws(used, draw)
        repeats = max(repeats, _repeats(numbers[:, :-1], draws))
        try:
            laws[name] = fit_mixture(shares, *known, chance=chance, draws=draws)
        except SurefootError as error:
            faults[name] = f"{f'{name}: ' if shift else ''}{error}"
    if not laws:
        raise SurefootError(next(iter(faults.values())))
    if repeats:
        say(
            f"note: {repeats} runs{' of a test' if shift else ''} have the shares and the size of another and count as "
            "independent runs of one test: --shift names the column of tests, --draw those of what runs share."
        )
    for fault in faults.values():
        say(f"warning: {fault} The test was left out.")
    for name in (name for name, law in laws.items() if law.at_end):
        say(
            f"warning: {f'{name}: ' if shift else ''}no likeness of the sources describes these mixtures: "
            f"{laws[name].likeness:.2f} is the end of the search. What is said of mixtures may be too sure."
        )
    return laws


def _by_test(table: Path, where: _Names, columns: _Names, shift: str | None) -> "dict[str, ResultTable]":
    """The runs of each test, by its name; the last of `columns` is the score."""
    import numpy as np

    from surefoot.laws import check_groups, keep_rows, keep_where, number_remarks, read_table, text_of, without_copies

    runs, copies = without_copies(keep_where(read_table(table), where), columns[-1])
    say_remarks((*runs.remarks, *copies, *number_remarks(runs, columns)))
    named = text_of(runs, shift) if shift else np.full(len(runs), "")
    if shift:
        check_groups(runs.source, shift, named, runs.rows)
    return {name: keep_rows(runs, named == name) for name in dict.fromkeys(named.tolist())}


def _repeats(runs: "Floats", draws: list[int] | None) -> int:
    """How many of the runs (n, shares and size) repeat another, within a draw where these are named."""
    import numpy as np

    parts = runs[:, :-1] / runs[:, :-1].sum(axis=1, keepdims=True)
    rows = np.column_stack([parts.round(6), runs[:, -1], np.zeros(len(runs)) if draws is None else draws])
    return len(rows) - len(np.unique(rows, axis=0))


def _draws(runs: "ResultTable", columns: _Names) -> list[int] | None:
    """Numbers of the draws of the runs (n), by these columns; None: all are independent."""
    from surefoot.laws import check_groups, text_of

    if not columns:
        return None
    named = [text_of(runs, column) for column in columns]
    for column, values in zip(columns, named, strict=True):
        check_groups(runs.source, column, values, runs.rows)
    numbers: dict[tuple[str, ...], int] = {}
    return [numbers.setdefault(one, len(numbers)) for one in zip(*named, strict=True)]


def _usable(runs: "ResultTable", columns: _Names, chance: float, table: Path) -> "tuple[Floats, ResultTable]":
    """Shares, size and score (n, columns) of the runs that have them, and these; what is odd is said by row."""
    import numpy as np

    from surefoot.laws import keep_rows, whole_numbers_of
    from surefoot.tables import rows_text

    def warn(which: "NDArray[np.bool_]", what: str) -> None:
        if which.any():
            say(f"warning: {table}: {rows_text(runs.rows[which].tolist(), 'have')} {what}")

    numbers = np.column_stack([whole_numbers_of(runs, column) for column in columns])
    parts, counts, scores = numbers[:, :-2], numbers[:, -2], numbers[:, -1]
    lost = ~np.isfinite(numbers).all(axis=1) | (parts.max(axis=1) == 0) | (counts <= 0) | np.isin(scores, (0, 1))
    totals = np.column_stack([np.ones_like(counts), np.full_like(counts, 100), counts])
    odd = ~lost & (abs(parts.sum(axis=1)[:, None] - totals) > _ROUNDED * totals).all(axis=1)
    warn(lost, "no share, size or score above 0, or a score of 1: left out.")
    warn(~lost & (scores < chance), f"a score below chance ({chance:g}), which weighs much in probit.")
    warn(odd, f"shares that sum to none of 1, 100 and '{columns[-2]}': taken in proportion.")
    return numbers[~lost], keep_rows(runs, ~lost)


def _predicted(laws: "dict[str, MixtureLaw]", counts: float, mixes: tuple[str, ...]) -> Table:
    from surefoot.laws import predict_mixture

    rows: list[tuple[object, ...]] = []
    for text in mixes:
        for name, law in laws.items():
            found = predict_mixture(law, [_shares(text, law.sources)], [counts])
            bounds = (float(part[0]) for part in (found.value, found.low, found.high))
            rows.append((text, name, counts, *bounds))
    return Table(("mix", "test", "size", "prediction", "low", "high"), tuple(rows))


def _shares(text: str, sources: tuple[str, ...]) -> list[float]:
    import numpy as np

    from surefoot.tables import parse_numbers

    parts = [part.rpartition("=") for part in text.split(",")]
    names = [name.strip() for name, _, _ in parts]
    numbers = parse_numbers([share for *_, share in parts], magnitudes=True)
    values = numbers.values / np.where(numbers.percent, 100, 1)
    if not set(names) <= set(sources) or len({*names}) < len(names) or not (values >= 0).all():
        form = f"SOURCE=SHARE,SOURCE=SHARE of {', '.join(sources)}, each once"
        raise SurefootError(f"'{text}' must have the form {form}.")
    if numbers.percent.any() and abs(values.sum() - 1) > _ROUNDED:
        say(f"warning: the shares of '{text}' sum to {values.sum():.4g}, not 1: taken in proportion.")
    given = dict(zip(names, values.tolist(), strict=True))
    return [given.get(name, 0.0) for name in sources]


def _say(law: "MixtureLaw", found: "BestShares", counts: float) -> None:
    score, equal = ([100 * float(part[0]) for part in (one.value, one.low, one.high)]
                    for one in (found.score, found.equal))  # fmt: skip
    single = f", that it is better than {found.single} alone {found.over_single:.0%}" if max(found.shares) < 1 else ""
    draws = f", in {law.shared_draws} draws" if law.shared_draws else ""
    say(
        f"With {counts:,.0f} examples the best shares score {score[0]:.1f} % [{score[1]:.1f}, {score[2]:.1f}], equal "
        f"shares {equal[0]:.1f} % [{equal[1]:.1f}, {equal[2]:.1f}] (95 %, a new run). The gain is "
        f"{100 * found.gain.estimate:.1f} points [{100 * found.gain.low:.1f}, {100 * found.gain.high:.1f}]; that there "
        f"is one has a probability of {found.sure:.0%}{single}. Likeness of the sources {law.likeness:.2f} (1: a "
        f"weighted mean). {law.mixed} of the runs are mixtures{draws}. low and high: shares that are the best for 90 % "
        "of equally good fits."
    )


def _elsewhere(name: str, law: "MixtureLaw", found: "BestShares", counts: float) -> str:
    from surefoot.laws import predict_mixture

    same = predict_mixture(law, [found.shares], [counts])
    return f"The same shares on {name}: {same.value[0]:.1%} [{same.low[0]:.1%}, {same.high[0]:.1%}]."
