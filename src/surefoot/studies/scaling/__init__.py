"""The study `scaling`: published tables of contrastive models and our own, fitted alike, and what the laws bear out."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from surefoot.contrastive import ICON_SETS, ICONIFY
from surefoot.core import Claim, Figure, Measurement, Results, Step, Study, SurefootError, Verdict, verdict_above
from surefoot.laws import ExponentDifference, TableScaling
from surefoot.studies._drawn import credits_of
from surefoot.studies._find import refuse_idle
from surefoot.studies._folder import data_folder
from surefoot.studies.scaling._figures import (
    ALL,
    LAION,
    MATCHED,
    OPENAI,
    PUBLISHED,
    exponents,
    forecasts,
    own_curve,
    residuals,
    sensitivity,
    task_curve,
)
from surefoot.studies.scaling._grid import BUDGET, FULL, TASKS, Grid
from surefoot.studies.scaling._grid import Forecast as Forecast
from surefoot.studies.scaling._grid import StyleScores as StyleScores
from surefoot.studies.scaling._own import own_claims

ZERO_SHOT = {
    # task: (set of the table, column of the score)
    "ImageNet": ("imagenet1k", "acc1"),
    "ImageNet shifts, mean": ("imagenet_robustness", "acc1"),
    "COCO image R@5": ("mscoco_captions", "image_retrieval_recall@5"),
    "Flickr30K image R@5": ("flickr30k", "image_retrieval_recall@5"),
}
PROBES = {
    f"{name}, {shown}": (dataset, shots)
    for name, dataset in (("ImageNet probe", "imagenet1k-unverified"), ("CIFAR-100 probe", "cifar100"))
    for shown, shots in (("10-shot", "10"), ("25-shot", "25"), ("full", "-1"))
}
TWINS = (
    # The LAION-400M models of OpenAI's three architectures with as many samples (13 billion): only the source differs.
    "ViT-B-32 Model-B-32_Data-400M_Samples-13B_lr-1e-3_bs-86k.pt",
    "ViT-B-16 laion400m_e32",
    "ViT-L-14 Model-L-14_Data-400M_Samples-13B_lr-1e-3_bs-86k.pt",
)
_BESIDE = (
    (MATCHED, False, "three matched runs each"),
    (MATCHED, True, "the same, run by run"),
    (PUBLISHED, False, "three points against the published envelope"),
)
_JOINT = "The interval is at Bonferroni's level, for {} comparisons together."
PAPER = "arXiv 2212.07143"
SUMMARY = """Error against training compute, for the published zero-shot and linear-probe results of OpenCLIP and
OpenAI CLIP models. The published law is a line through the lowest points of five bins of
compute (OpenCLIP) or through three points (OpenAI), without intervals. Here the same lines come out to the printed
digits, with intervals, beside all points and the Pareto front, and the two sources are compared on matched runs. That
verdict is Welch's, of three runs against three; the comparison run by run leaves one degree of freedom, so its p can
be small by luck, and the minima of bins are no independent runs, so the published comparison is only indicative."""
OWN = """Our own grid: {} sizes by samples by seeds on drawings of six styles, and models of more compute than any of
these, which were forecast before they were trained. Things are known, drawings are not: 1,400 of styles seen, 3,800 of
three unseen styles. Naming is among 25 names and finding among 100 drawings, so that error has room to fall: among all
1,400 names it stays above 80 percent at the compute of the small budget."""


def study(*, tables: str = "", own: bool = True, full: bool = False) -> Study:
    """The study. `tables` is the folder of published tables (default: `SUREFOOT_DATA`/laws); `own` adds our models.

    `full` trains the large grid, for hours; it is resumed like every run.
    """
    refuse_idle(study, locals(), (not own, "own=no", "full"))
    grid = (FULL if full else BUDGET) if own else None
    folder = data_folder(
        tables,
        "laws",
        "The study 'scaling' reads published tables: set SUREFOOT_DATA to the folder that holds 'laws', or give "
        "-o tables=DIR, the folder of clip_benchmark_openclip_results.csv and clip_benchmark_linear_probe.json.gz.",
    )
    laws = _zero_shot_laws(folder / "clip_benchmark_openclip_results.csv")
    probes = _probe_laws(folder / "clip_benchmark_linear_probe.json.gz")
    steps: list[Step] = [*laws.values(), *probes.values()]
    steps += [_difference(laws, ZERO_SHOT, PUBLISHED), _difference(laws, ZERO_SHOT, MATCHED)]
    steps += [_difference(laws, ZERO_SHOT, MATCHED, paired=True), _difference(probes, PROBES, ALL)]
    return Study(
        name="scaling",
        title="Which scaling laws of contrastive models hold, and how firmly?",
        summary=f"{SUMMARY} {OWN.format(len(grid.sizes))}" if grid else SUMMARY,
        steps=(*(grid.steps() if grid else ()), *steps),
        claims=(*_power_claims(), *_source_claims(), *(own_claims(grid, _claim) if grid else ())),
        figures=(*map(task_curve, ZERO_SHOT), *(_own_figures(grid) if grid else ()), exponents, sensitivity, residuals),
        credits=("Results of OpenCLIP and OpenAI CLIP models: CLIP benchmark (MIT)", *(_credits(grid) if grid else ())),
    )


def _zero_shot_laws(file: Path) -> dict[tuple[str, str], TableScaling]:
    """A law for each task and family. The envelope is the published one; the rest says how much hangs on it."""
    source = "upstream_dataset"
    every = {"where": (f"{source}=LAION-*",)}
    families = {
        PUBLISHED: {**every, "selection": "envelope"},
        ALL: every,
        "OpenCLIP, Pareto front": {**every, "selection": "pareto"},
        **{f"OpenCLIP, {data} only": {"where": (f"{source}={data}",)} for data in LAION},
        MATCHED: {"where": (f"{source}=LAION-400M",), "only": TWINS},
        OPENAI: {"where": (f"{source}=CLIP-WIT",)},
    }
    return {
        (task, family): TableScaling(
            path=str(file),
            x="gmacs_total",
            y=column,
            label="model_fullname",
            task=task,
            family=family,
            **options | {"where": (f"downstream_dataset={name}", *options["where"])},
        ).pinned()
        for task, (name, column) in ZERO_SHOT.items()
        for family, options in families.items()
    }


def _probe_laws(file: Path) -> dict[tuple[str, str], TableScaling]:
    """As published: the best of learning rates and epochs on the test set, then all points."""
    return {
        (task, family): TableScaling(
            path=str(file),
            x="gmacs_total",
            y="lp_acc1",
            label="model_short",
            task=task,
            family=family,
            where=(f"dataset={name}", f"fewshot_k={shots}", condition),
            best_of=("samples_seen_pretty", "model", "upstream_dataset"),
        ).pinned()
        for task, (name, shots) in PROBES.items()
        for family, condition in ((ALL, "upstream_dataset=LAION-*"), (OPENAI, "upstream_dataset=CLIP-WIT"))
    }


def _difference(
    laws: dict[tuple[str, str], TableScaling], tasks: dict[str, tuple[str, str]], other: str, *, paired: bool = False
) -> ExponentDifference:
    return ExponentDifference(
        first=tuple(laws[task, OPENAI] for task in tasks),
        second=tuple(laws[task, other] for task in tasks),
        names=tuple(tasks),
        paired=paired,
    )


def _own_figures(grid: Grid) -> Iterator[Callable[[Results], Figure]]:
    yield from (own_curve(grid, task) for task in TASKS)
    yield forecasts(grid)


def _credits(grid: Grid) -> tuple[str, ...]:
    icons = f"Icons: {ICONIFY.label}, {len(ICON_SETS)} sets, each under its own open licence (credit.json)"
    return (*credits_of((*grid.styles, *grid.unseen)), icons)


def _claim(name: str, sentence: str, check: Callable[[Results], Verdict], effect: str) -> Claim:
    source = f"{PAPER}, abstract"
    return Claim(name=name, sentence=sentence, check=check, source=source, effect=effect, counted="models")


def _power_claims() -> Iterator[Claim]:
    cases = [(task, (task,), family) for family in (ALL, OPENAI) for task in ZERO_SHOT]
    cases += [("linear probes", tuple(PROBES), family) for family in (ALL, OPENAI)]
    for shown, tasks, family in cases:
        name = family.split(",")[0]
        sentence = f"Error falls as a power of compute: {shown}, {name} models."
        yield _claim(f"power law: {shown} ({name})", sentence, _falls(tasks, family), "exponent")


def _falls(tasks: tuple[str, ...], family: str) -> Callable[[Results], Verdict]:
    def check(results: Results) -> Verdict:
        rows = results.select(TableScaling, metric="exponent", task=tasks, group=family)
        weakest = _weakest([row.measurement for row in rows], f"The laws of {family}")
        p = results.one(TableScaling, metric="p_constant", task=weakest.task, group=family).value
        detail = f"Error falls as compute to the power -{weakest.value:.3f}; p = {p:.2g} against a constant error."
        if len(rows) > 1:
            told = ", ".join(f"{row.measurement.task} {row.value:.3f}" for row in rows)
            detail += f" Exponents: {told}. The verdict is that of the weakest, {weakest.task}."
        printed = results.select(TableScaling, metric="exponent", task=tasks, group=PUBLISHED)
        if family == ALL and printed:
            detail += f" All points; the published envelope of bins gives {printed[0].value:.3f}."
        if weakest.n == 3:
            detail += " Three points leave one degree of freedom: Student's t, and no bootstrap."
        return _above(weakest, detail)

    return check


def _weakest(exponents: Sequence[Measurement], what: str) -> Measurement:
    if not exponents or any(one.low is None for one in exponents):
        raise SurefootError(f"{what} were not fitted, or have too few points for an interval.")
    return min(exponents, key=lambda one: -1.0 if one.low is None else one.low)


def _above(exponent: Measurement, detail: str) -> Verdict:
    low, high = (float("nan") if bound is None else bound for bound in (exponent.low, exponent.high))
    return verdict_above(exponent.value, low, high, exponent.n, detail=detail)


def _source_claims() -> Iterator[Claim]:
    for shown, check in (*((task, _differs(task)) for task in ZERO_SHOT), ("linear probes", _probes_differ)):
        sentence = f"The training source changes the exponent (OpenAI's against LAION): {shown}."
        yield _claim(f"source changes the exponent: {shown}", sentence, check, "difference of exponents")


def _comparison(step: Step) -> tuple[str, bool]:
    if not isinstance(step, ExponentDifference) or not isinstance(step.second[0], TableScaling):
        return "", False
    return step.second[0].family, step.paired


def _differs(task: str) -> Callable[[Results], Verdict]:
    """The verdict of the matched comparison, with the published one and the comparison run by run beside it."""

    def check(results: Results) -> Verdict:
        rows = results.select(ExponentDifference, task=task)
        found = {(*_comparison(row.step), row.measurement.metric): row.measurement for row in rows}
        main = found.get((MATCHED, False, "exponent_difference"))
        if main is None:
            raise SurefootError(f"The exponents on {task} were not compared.")
        told = [
            f"{shown}: {found[family, paired, 'exponent_difference'].value:+.3f} "
            f"(p = {found[family, paired, 'p_unadjusted'].value:.2g}, {found[family, paired, 'p'].value:.2g} by Holm)"
            for family, paired, shown in _BESIDE
            if (family, paired, "p") in found
        ]
        return _two_sided(main, f"{'; '.join(told)}. {_JOINT.format(len(ZERO_SHOT))}")

    return check


def _probes_differ(results: Results) -> Verdict:
    rows = results.select(ExponentDifference, metric="exponent_difference", task=tuple(PROBES))
    return _surest([row.measurement for row in rows], "The exponents of probes were not compared.")


def _surest(differences: Sequence[Measurement], otherwise: str) -> Verdict:
    """The verdict of the comparison that is the furthest from zero in units of its interval."""
    if not (bounded := [one for one in differences if one.low is not None and one.high is not None]):
        raise SurefootError(otherwise)
    first = max(bounded, key=lambda one: abs(one.value) / ((one.high or 0) - (one.low or 0)))
    listed = ", ".join(f"{one.task} {one.value:+.3f}" for one in bounded)
    return _two_sided(
        first, f"{listed}. The verdict is that of the surest, {first.task}. {_JOINT.format(len(bounded))}"
    )


def _two_sided(gap: Measurement, detail: str) -> Verdict:
    if gap.low is None or gap.high is None:
        raise SurefootError("A comparison of exponents has no interval.")
    status = "supported" if gap.low > 0 or gap.high < 0 else "undecided"
    return Verdict(status=status, effect=gap.value, low=gap.low, high=gap.high, n=gap.n, detail=detail)
