"""The report of a scrutiny in two readings: for a lawyer in plain words and counts, for an expert with every figure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.figures import interval_plot
from surefoot.report._page import slug, still
from surefoot.report._sheet import Section, write_sheet
from surefoot.stats import clopper_pearson

if TYPE_CHECKING:
    from surefoot.scrutiny import Verified

Line = Mapping[str, Any]
_LIMITS = (
    "No figure here is the probability that a person is guilty, or is the donor. 'Such evidence is rare if he is not "
    "the donor' does not mean 'he is unlikely not to be the donor': to swap the two is the transposed conditional, the "
    "prosecutor's fallacy.",
    "A failure that a search found shows that such failures exist. It is no rate: how often one happens depends on how "
    "often such conditions occur.",
    "A test that was passed shows no failure in the cases that were asked; a rarer one could be missed.",
    "Cases were made by a generator that knows the truth, and conditions drawn evenly, not as often as casework has "
    "them: no count here is the error rate of casework. Whether they are like this case is for experts to say.",
)
_MEASURED = {"mean ratio": "the mean ratio", "calibration": "the cost (Cllr)", "gap": "the difference of rates"}
_OWN = "the case's own condition"
_METHOD = (
    "Samples have Clopper and Pearson's exact 95 percent intervals. What a search found was asked again with fresh "
    "seeds, in a test that may stop early: a rate's interval is exact for that, and its p holds whenever the test "
    "stopped. p values are corrected by Holm over all claims.",
    "The distance of a condition is its largest difference from the case, each in the scale that is stated for it. "
    "What drives a claim is the share of the variance of the rank of its margin that a condition explains alone.",
    "Every query with its seed and output is in the bundle: `surefoot scrutiny verify` and its replay.py repeat them.",
)


def write_scrutiny(verified: Verified, path: Path, *, source: str) -> Path:
    """Write the report of a verified bundle as one HTML file that opens from disk and loads nothing; returns its path.

    Raises `SurefootError` when the file cannot be written.
    """
    plan, found, claims = verified.plan, verified.findings, verified.findings["claims"]
    failing = sum(one["verdict"].startswith("fails") for one in claims)
    silent = sum(one["verdict"] == "not judged" for one in claims)
    shown = f"{failing} of {len(claims)} claims {'is' if failing == 1 else 'are'} shown to fail."
    opening = shown if failing else "No failure was shown."
    told = [f"Ratios compare '{plan['propositions'][0]}' with '{plan['propositions'][1]}', in: {plan['population']}."]
    words = (*(told if plan["population"] else ()), _near(plan), *(_in_words(one, plan) for one in claims))
    lawyer = Section(title="For a lawyer", anchor="lawyer", sentences=words, still=_drawn(plan, claims))
    said = "All tests, passed and failed. What was found by a search is existence, never a rate."
    power = "In each sample; and by a search at one condition, before that is asked again. –: no count could show one."
    margin = "The worst margin is the largest mean over the queries of one condition; above 0 a query fails."
    sections = (
        lawyer,
        _section("What this does not show", [*_LIMITS, *_untested(plan, found)]),
        _section(
            "Questions for cross-examination", [ask for one in claims for ask in _questions(one, plan)] or ["None."]
        ),
        _section("For an expert: every test", [said], [row for one in claims for row in _tests(one)]),
        _section("Searches", [margin], [{"claim": one["name"], **row} for one in claims for row in one["searches"]]),
        _section("Conditions", [*_bound(plan)], [*map(_condition, plan["domain"])]),
        _section(
            "What drives each claim",
            [],
            [{"claim": one["name"]} | {by["condition"]: by["share"] for by in one["drivers"]} for one in claims],
        ),
        _section("Failure rates that would be seen with probability .9", [power], plan["can find"]),
        _section("The bundle", [*_bundle(verified)]),
    )
    return write_sheet(
        path,
        kind="scrutiny",
        source=source,
        opening=f"{opening} {silent} of {len(claims)} claims could not be judged." if silent else opening,
        leads=(
            plan["question"],
            f"Tested: {plan['name']}, version {' against version '.join(one['version'] for one in _systems(plan))}.",
        ),
        facts=(f"{found['queries']:,} queries", f"{found['cases']:,} cases", f"plan signed {plan['signed at']}"),
        sections=sections,
        notes=(),
        method=_METHOD,
    )


def _systems(plan: Line) -> list[Line]:
    return [one for one in (plan["system"], plan["other"]) if one]


def _section(title: str, sentences: Iterable[str], lines: Sequence[Line] = ()) -> Section:
    columns = tuple(dict.fromkeys(name for line in lines for name in line))
    rows = tuple(tuple(_cell(line.get(name)) for name in columns) for line in lines)
    return Section(title=title, anchor=slug(title), sentences=tuple(sentences), still="", columns=columns, rows=rows)


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


def _value(value: object) -> str:
    """The value of a condition, of which every digit may count."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _where(found: Line) -> str:
    return ", ".join(f"{name} {_value(found['condition'][name])}" for name in found["changed"]) or _OWN


def _told(one: Line, claim: Line) -> str:
    """What a test counted, or what it measured for a claim that no single case can fail."""
    silent = one.get("unjudged", 0)  # an older bundle does not say
    if one.get("not finite", {}).get("estimate") == "not a number":
        return "nothing could be judged" + (f" ({silent} gave no figure)" if silent else "")
    said = f" ({silent} more could not be judged)" if silent else ""
    said += "" if one["judged"] else ", too few to judge it"
    if claim["effect"] == "rate":
        ends = f"{_cell(100.0 * one['low'])} to {_cell(100.0 * one['high'])} in 100"
        return f"{one['failed']} of {one['n']} did not keep to it ({ends}){said}"
    points = 100.0 if claim["effect"] == "gap" else 1.0  # as its sentence says
    value = "infinite" if one["estimate"] is None else _cell(points * one["estimate"])
    value += " points" * (points > 1)
    low = "" if one["low"] is None else f" (at least {_cell(points * one['low'])})"
    return f"{_MEASURED[claim['effect']]} was {value}{low} in {one['n']} cases{said}"


def _near(plan: Line) -> str:
    from surefoot.scrutiny import Variable

    may = [Variable(**one | {"choices": tuple(one["choices"])}) for one in plan["domain"]]
    near = "; ".join(f"{one.name} {_range(vars(one.within(plan['plan']['radius'])))}" for one in may)
    said = "In brackets is where the true share lies with 95 percent confidence: the fewer cases, the less is known."
    return f"'Near this case' means {near}. {said}"


def _held(claim: Line, plan: Line) -> list[Line]:
    """What a search found, and fresh seeds confirmed."""
    return [one for one in claim["found"] if one["p (Holm)"] <= plan["plan"]["alpha"]]


def _in_words(claim: Line, plan: Line) -> str:
    overall, near, case = (_told(one, claim) for one in claim["samples"])
    said = f"{claim['sentence']} Over all conditions {overall}; near this case {near}; exactly like it {case}. "
    for worst in claim["found"][-1:]:
        said += f"Asked again where it seemed worst ({_where(worst)}), {_told(worst, claim)}. "
    if (nearest := claim["fails at distance"]) is not None:
        there = next((_where(one) for one in _held(claim, plan) if one["distance"] == nearest), _OWN)
        said += f"The confirmed failure nearest to the case lies at {there}, a distance of {nearest:.2g}. "
    tests = (*claim["samples"], *claim["found"])
    if claim["verdict"] == "no failure shown" and any((one["low"] or 0) > claim["bound"] for one in tests):
        said += "A bracket that lies above the limit counts as no failure here: of so many tests one may, by chance. "
    return f"{said}Finding: {claim['verdict']}."


def _questions(claim: Line, plan: Line) -> Iterator[str]:
    name, near = claim["name"], claim["samples"][1]
    for one in _held(claim, plan)[:1]:
        yield f"Was it validated at {_where(one)}? There, of '{name}', {_told(one, claim)}."
    if known := plan["known"].get(name):
        reported = f"Of '{name}', {known['failed']} of {known['n']} are reported to fail ({known['source']})"
        yield f"{reported}. How many of the {known['n']} were like this case? Near it, {_told(near, claim)}."
    if claim["unjudged"]:
        yield f"Why did it give no figure for '{name}' in {sum(claim['unjudged'].values())} cases?"
    for one in claim["drivers"][:1]:
        if one["assumption"] and one["share"] > 0.1:
            yield f"Why was {one['condition']} assumed so? It explains {100 * one['share']:.0f} percent of '{name}'."


def _untested(plan: Line, found: Line) -> Iterator[str]:
    yield f"Nothing was tested outside of: {'; '.join(one['name'] + ' ' + _range(one) for one in plan['domain'])}."
    if bound := " ".join(_bound(plan)):
        yield f"Within them only what is possible, and plausible enough, was tested. {bound}"
    if not (found["held"].get("files") and found["held"].get("processes")):
        yield "This machine could not keep the system from other files and the network; it was only limited in time."
    if rest := {name: n for name, n in found["status"].items() if name != "answered"}:
        yield f"Of queries without an answer only a claim on answers has a say: {_pairs(rest)}."
    for claim in (one for one in found["claims"] if one["unjudged"]):
        yield f"'{claim['name']}' could not be judged everywhere: {_pairs(claim['unjudged']).rstrip('.')}."


def _pairs(counts: Line) -> str:
    return "; ".join(f"{_cell(value)} {name}" for name, value in counts.items())


def _range(one: Line) -> str:
    return " or ".join(map(str, one["choices"])) or f"{_value(one['low'])} to {_value(one['high'])}"


def _drawn(plan: Line, claims: Sequence[Line]) -> str:
    """One figure: the reported rate, the overall one, that near the case, at it, and at what the search found."""
    effects = []
    for claim in (one for one in claims if one["effect"] == "rate"):
        lines = [(one["sample"], one) for one in claim["samples"]]
        lines += [(f"{one['which']} found, distance {one['distance']:.2g}", one) for one in claim["found"]]
        if known := plan["known"].get(claim["name"]):
            lines.insert(0, ("as reported", vars(clopper_pearson(known["failed"], known["n"]))))
        effects += [
            {"label": label, "value": one["estimate"], "low": one["low"], "high": one["high"], "group": claim["name"]}
            for label, one in lines
            if one["estimate"] is not None
        ]
    named = {"name": "rates", "title": "Failure rates", "caption": "", "x_title": "Share of cases that fail"}
    return still(interval_plot(effects, unit="share", reference=None, **named)) if effects else ""


def _tests(claim: Line) -> Iterator[Line]:
    for one in (*claim["samples"], *claim["found"]):
        place = one.get("sample") or f"{one['which']}, distance {one['distance']:.3g}"
        names = ("failed", "n", "unjudged", "estimate", "low", "high", "at most", "p", "p (Holm)", "plausibility")
        endless = {name: why for name, why in one.get("not finite", {}).items() if why == "infinite"}
        figures = {name: ({"at most": claim["bound"]} | one | endless).get(name) for name in names}
        yield {"claim": claim["name"], "test": place, **figures, "detail": _pairs(one["detail"])}


def _condition(one: Line) -> Line:
    told = {"condition": one["name"], "case": _value(one["case"]), "range": _range(one), "scale": _value(one["scale"])}
    return told | {"kind": "assumption" if one["assumption"] else "fact", "source": one["source"]}


def _bound(plan: Line) -> Iterator[str]:
    yield from (f"Constraint: {one['name']} ({one['source']})." for one in plan["constraints"])
    if plan["plausibility"]["source"]:
        yield f"Plausibility of at least {plan['plausibility']['least']:g}: {plan['plausibility']['source']}."


def _bundle(verified: Verified) -> Iterator[str]:
    plan, seal = verified.plan, verified.seal
    yield f"Signed {plan['signed at']}, sealed {seal['sealed at']}, by the clock of who ran it."
    if seal["sealed at"] < plan["signed at"]:
        yield "That clock was set in between: the plan bears a later time than the seal."
    yield f"The plan, to compare with what was deposited before the run: SHA-256 {seal['files']['plan.json']}"
    yield f"Ed25519 key {plan['public key']}, end of the chain {seal['head']}."
    files = {name: digest for one in _systems(plan) for name, digest in one["files"].items()}
    yield from (f"{name}: SHA-256 {digest}" for name, digest in files.items())
    yield f"Plan: {', '.join(f'{name} {value}' for name, value in plan['plan'].items())}."
