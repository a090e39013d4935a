"""Scrutiny of evidentiary software from the command line."""

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, validators

from surefoot.cli._common import Exit
from surefoot.cli._output import Format, emit, say
from surefoot.core import Table, open_pool

scrutiny = App(name="scrutiny", help="Adversarial tests of evidentiary software near the case at hand.")
Case = Annotated[Path, Parameter(help="A Python file whose function scrutiny() returns a Scrutiny.")]
Out = Annotated[Path | None, Parameter(name="--out", help="The bundle. Default: NAME.bundle of NAME.py, here.")]
Key = Annotated[Path | None, Parameter(name="--key", help="An Ed25519 key (PEM). Default: one beside the bundle.")]
Workers = Annotated[int, Parameter(help="How many queries at once.", validator=validators.Number(gte=1))]
Bundle = Annotated[Path, Parameter(help="The bundle of a finished run.")]


@scrutiny.command
def plan(case: Case, /, *, out: Out = None, key: Key = None, format: Format | None = None) -> None:
    """Sign what will be asked, before the first query, and say what that can and cannot find.

    Its table: the smallest failure rate that each sample, and a search at one condition, shows with probability .9.

    Example: surefoot scrutiny plan case.py
    """
    from surefoot.scrutiny import deposit_line, write_plan

    told = write_plan(case, _bundle(case, out), key=key)
    say(f"{deposit_line(_bundle(case, out))}: deposit this line before you run it.")
    columns = ("claim", "sample", "n", "rate")
    emit(Table(columns, tuple(tuple(one[name] for name in columns) for one in told["can find"])), format)


@scrutiny.command
def run(case: Case, /, *, out: Out = None, key: Key = None, workers: Workers = 1, format: Format | None = None) -> int:
    """Ask what the signed plan says, and seal the bundle. Run it again to go on after a stop.

    Exits with 1 when a claim is shown to fail, with 2 when one could not be judged.

    Example: surefoot scrutiny run case.py --workers 2
    """
    from surefoot.scrutiny import deposit_line, run_scrutiny

    def progress(done: int, stage: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{done:,} cases asked; now: {stage:60.60}")

    with open_pool("processes" if workers > 1 else "here", workers) as pool:
        found = run_scrutiny(case, _bundle(case, out), pool=pool, workers=workers, key=key, progress=progress)
    say(f"{found['queries']:,} queries in {found['cases']:,} cases; the bundle is sealed: {_bundle(case, out)}")
    say(f"{deposit_line(_bundle(case, out))}.")
    for why, count in found["errors"]:
        say(f"{count:,} queries: {why}")
    emit(_verdicts(found), format)
    shown = {one["verdict"] for one in found["claims"]}
    if any(one.startswith("fails") for one in shown):
        return Exit.CONTRADICTED
    return Exit.UNJUDGED if "not judged" in shown else Exit.HOLDS


@scrutiny.command
def verify(
    bundle: Bundle,
    /,
    *,
    rerun: Annotated[float, Parameter(help="The share of queries to ask again, 0 to 1.")] = 0.0,
    case: Annotated[Path | None, Parameter(help="The case file, to ask again. Default: the bundle's copy.")] = None,
) -> int:
    """Check every byte of a bundle, and ask a share of its queries again.

    Exits with 1 when a query gives another output now, with 2 when the bundle is not as it was sealed.

    Example: surefoot scrutiny verify case.bundle --rerun 0.05
    """
    from surefoot.scrutiny import ask_again, check_asked, deposit_line, own_replay, verify_bundle

    found = verify_bundle(bundle, share=rerun, keep=bool(rerun))
    say(f"All of {bundle} is as it was sealed at {found.seal['sealed at']}: {found.queries:,} cases.")
    say(f"{deposit_line(bundle)}: compare with what was deposited.")
    if found.seal["files"]["replay.py"] != own_replay():
        say("Its replay.py is not the one that this Surefoot writes: read it before you run it.")
    if rerun:
        check_asked(case or bundle / "case.py", found)
    differ = ask_again(case or bundle / "case.py", found.drawn) if found.drawn else []
    for one in differ:
        say(one)
    if rerun:
        say(f"{len(found.drawn):,} cases were asked again; {len(differ)} outputs differ.")
    return Exit.CONTRADICTED if differ else Exit.HOLDS


@scrutiny.command
def report(
    bundle: Bundle,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="The page. Default: NAME.html of NAME.bundle.")] = None,
) -> None:
    """Verify a bundle and write its report, for a lawyer and for an expert: one HTML page, which prints as PDF.

    Example: surefoot scrutiny report case.bundle --out report.html
    """
    from surefoot.report import write_scrutiny
    from surefoot.scrutiny import verify_bundle

    bundle = bundle if bundle.name else bundle.resolve()  # of '.'
    say(f"Report: {write_scrutiny(verify_bundle(bundle), out or bundle.with_suffix('.html'), source=bundle.name)}")


def _bundle(case: Path, out: Path | None) -> Path:
    return out or Path(f"{case.stem}.bundle")


def _verdicts(found: dict[str, Any]) -> Table:
    rows = []
    for one in found["claims"]:
        near, p = one["samples"][1], min(test["p (Holm)"] for test in (*one["samples"], *one["found"]))
        figures = (near["failed"], near["n"], near["unjudged"], near["low"], near["high"])
        figures = figures if near["judged"] else ("not judged", *figures[1:3], None, None)
        rows.append((one["name"], one["verdict"], *figures, one["fails at distance"], p))
    names = ("claim", "verdict", "failed near", "of", "unjudged near", "low", "high", "fails at distance", "p (Holm)")
    return Table(names, tuple(rows))
