"""A scrutiny: who is asked what, near which case, with how many queries. A user's file defines one."""

import importlib.util
import math
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any, Literal, get_args

from surefoot.core import SurefootError, digest_of, what_failed
from surefoot.scrutiny._claims import SUSPICION, ValidityClaim, truth_of
from surefoot.scrutiny._domain import Condition, Domain, Sampling, sample
from surefoot.scrutiny._replay import plain
from surefoot.scrutiny._statistics import smallest_rate_seen
from surefoot.scrutiny._systems._kinds import System, Values, describe_system

Method = Literal["random", "latin hypercube", "local", "cma", "hypothesis"]
_MOST_GROUPS = 12  # of more, each of a few queries, a difference is not seen
SAMPLES = {"overall": "overall", "near": "near", "at the case": "at_case"}


@dataclass(frozen=True, kw_only=True)
class ScrutinyPlan:
    """How much is asked, fixed and signed before the first query.

    `overall` queries over the whole domain, `near` within the distance `radius` of the case, `at_case` at the case
    itself; a search of `budget` queries a claim and method, `repeats` a condition; `approach` queries a claim to come
    nearer to the case; at most `confirm` queries with fresh seeds at what was found. `alpha` is the error rate of all
    claims together (Holm). A `seed` of 0 is drawn when the plan is signed.
    """

    overall: int = 200
    near: int = 200
    at_case: int = 100
    radius: float = 1.0
    sampling: Sampling = "sobol"
    methods: tuple[Method, ...] = ("local", "cma", "hypothesis")
    budget: int = 150
    repeats: int = 3
    approach: int = 60
    confirm: int = 200
    alpha: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        least = dict.fromkeys(("overall", "near", "at_case", "repeats", "confirm"), 1)
        for name, value in (least | dict.fromkeys(("budget", "approach", "seed"), 0)).items():
            if type(given := getattr(self, name)) is not int or given < value:
                raise SurefootError(f"The plan's {name} is {given!r}: it must be at least {value}, and whole.")
        for name, given, known in (("methods", self.methods, Method), ("sampling", (self.sampling,), Sampling)):
            if strange := [one for one in given if one not in get_args(known)]:
                raise SurefootError(
                    f"The plan's {name}: there is no '{strange[0]}'. There are: {', '.join(get_args(known))}."
                )
        if len(set(self.methods)) < len(self.methods):
            raise SurefootError(f"The plan's methods name one twice: {', '.join(self.methods)}.")
        if not (0 < self.alpha < 1 and 0 < self.radius < math.inf):
            raise SurefootError("The plan's alpha must lie between 0 and 1, and its radius be a number above 0.")


@dataclass(frozen=True, kw_only=True)
class KnownRate:
    """A rate that somebody else reports, such as the maker's validation study: `failed` of `n`, and where it stands."""

    failed: int
    n: int
    source: str

    def __post_init__(self) -> None:
        if not (0 <= self.failed <= self.n > 0 and self.source.strip()):
            raise SurefootError(f"A known rate is failures of at least one case, with its source: {self}.")


@dataclass(frozen=True, kw_only=True)
class Scrutiny:
    """The question, the system, the case with its domain, how cases are made, the claims, and the plan.

    `generate(condition, seed)` gives evidence and truth, both mappings of plain values. `other` is another version of
    the system, for claims that compare both. `propositions` and `population` must be stated where a claim speaks of
    likelihood ratios: the two hypotheses, and whose frequencies count. `known` are reported rates by name of a claim.
    """

    name: str
    question: str
    system: System
    domain: Domain
    generate: Callable[[Condition, int], tuple[Values, Values]]
    claims: tuple[ValidityClaim, ...]
    plan: ScrutinyPlan = ScrutinyPlan()
    other: System | None = None
    propositions: tuple[str, str] = ("", "")
    population: str = ""
    known: Mapping[str, KnownRate] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = Counter(claim.name for claim in self.claims)
        if not names or max(names.values()) > 1:
            raise SurefootError(f"A scrutiny needs claims of different names, got: {', '.join(names) or 'none'}.")
        if any(claim.ratio for claim in self.claims) and not all(map(str.strip, (*self.propositions, self.population))):
            raise SurefootError(
                "A likelihood ratio means nothing without its two propositions and its population: state them as "
                "propositions=(first, second) and population=... of the Scrutiny."
            )
        if self.other is None and any(claim.other for claim in self.claims):
            raise SurefootError("A claim compares two versions: give the second as other=... of the Scrutiny.")
        first, second = (one.strip().casefold() for one in self.propositions)
        if first and first == second:
            raise SurefootError(f"Both propositions are '{self.propositions[0]}': a ratio compares two that differ.")
        of = {one.name for one in self.domain.variables}
        if strange := [one.variable for one in self.claims if one.variable and one.variable not in of]:
            raise SurefootError(f"A claim is by '{strange[0]}', which is no condition. There are: {', '.join(of)}.")
        for claim, one in ((c, v) for c in self.claims for v in self.domain.variables if v.name == c.variable):
            if (one.choices and claim.edges) or not (one.choices or claim.edges or one.values <= _MOST_GROUPS):
                raise SurefootError(
                    f"'{claim.name}' compares groups: give edges=(...) where {one.name} is a number of more than "
                    f"{_MOST_GROUPS} values, and none where it is one of choices."
                )
        if strange := [name for name in self.known if name not in names]:
            raise SurefootError(f"A rate is reported of '{strange[0]}', which is no claim here: {', '.join(names)}.")


def load_scrutiny(path: Path) -> Scrutiny:
    """The scrutiny that a Python file defines by its function `scrutiny()`, as the file is now.

    Raises `SurefootError` for a file that is not there, cannot be run, or defines none.
    """
    path = path.resolve()
    if path.suffix != ".py" or not path.is_file():
        raise SurefootError(f"There is no case file {path}: it must be a Python file, named .py.")
    return _loaded(path, *_as_it_is(path), *map(_as_it_is, beside(path).values()))


def _as_it_is(path: Path) -> tuple[int, int]:
    return (status := path.stat()).st_mtime_ns, status.st_size


def beside(path: Path) -> dict[str, Path]:
    """The modules beside a case file, or below, that it imports, and those that these do: their files by name."""
    path = path.resolve()
    return _beside(path, *_as_it_is(path))


@lru_cache(maxsize=8)
def _beside(path: Path, *as_it_is: int) -> dict[str, Path]:
    finder = ModuleFinder([str(path.parent)], excludes=["surefoot"])
    with suppress(SyntaxError):  # which is told where it is run
        finder.run_script(str(path))
    files = {name: str(getattr(one, "__file__", "")) for name, one in sorted(finder.modules.items())}
    return {name: Path(file) for name, file in files.items() if file.endswith(".py") and name != "__main__"}


@lru_cache(maxsize=8)
def _loaded(path: Path, *as_they_are: object) -> Scrutiny:
    spec = importlib.util.spec_from_file_location(f"surefoot_case_{path.stem}", path)
    if not (spec and spec.loader):
        raise SurefootError(f"The case file {path} cannot be read.")
    for name in beside(path):  # another case may have such a neighbour, too
        sys.modules.pop(name, None)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent))
    wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # which would lie in a bundle
    try:
        spec.loader.exec_module(module)
        made = module.scrutiny() if callable(getattr(module, "scrutiny", None)) else None
    except SurefootError:
        raise
    except Exception as error:
        raise SurefootError(f"The case file {path.name} cannot be read: {what_failed(error)}") from error
    finally:
        sys.path.remove(str(path.parent))
        sys.dont_write_bytecode = wrote
    if not isinstance(made, Scrutiny):
        raise SurefootError(f"{path.name} must define a function `scrutiny()` that returns a surefoot Scrutiny.")
    return made


def describe(scrutiny: Scrutiny, path: Path) -> dict[str, Any]:
    """All that is fixed before the first query, as plain values: what a plan is signed over."""
    folder = path.resolve().parent
    neighbours = {str(file.relative_to(folder)): digest_of(file) for file in beside(path).values()}
    domain, same = scrutiny.domain, ("name", "question", "propositions", "population")
    told = {name: getattr(scrutiny, name) for name in same} | {
        "system": describe_system(scrutiny.system),
        "other": describe_system(scrutiny.other) if scrutiny.other else None,
        "domain": [asdict(one) for one in domain.variables],
        "constraints": [{"name": one.name, "source": one.source} for one in domain.constraints],
        "plausibility": {"source": domain.plausibility_source, "least": domain.least_plausible},
        "claims": [
            {name: getattr(one, name) for name in ("name", "sentence", "effect", "bound", "ratio")}
            for one in scrutiny.claims
        ],
        "known": {name: asdict(one) for name, one in scrutiny.known.items()},
        "plan": asdict(scrutiny.plan),
        "can find": can_find(scrutiny),
        "case file": {"name": path.name, "digest": digest_of(path)} | ({"beside": neighbours} if neighbours else {}),
    }
    return plain(told)


def samples_of(domain: Domain, plan: ScrutinyPlan) -> dict[str, list[dict[str, Any]]]:
    """The conditions of each sample. Raises `SurefootError` where hardly any is allowed."""
    overall = sample(domain, plan.overall, method=plan.sampling, seed=plan.seed)
    near = sample(domain.within(plan.radius), plan.near, method=plan.sampling, seed=plan.seed + 1)
    return dict(zip(SAMPLES, (overall, near, [domain.case] * plan.at_case), strict=True))


def try_plan(scrutiny: Scrutiny, seed: int) -> None:
    """Raise `SurefootError`, before the first query, where hardly a condition is allowed, or a truth is no boolean."""
    samples_of(scrutiny.domain, replace(scrutiny.plan, seed=seed))
    truth: Values = {}
    with suppress(Exception):  # a generator that fails here is left to the run
        _, truth = scrutiny.generate(scrutiny.domain.case, seed)
    for name in {one.truth for one in scrutiny.claims} - {""} if truth else ():
        truth_of(truth, name)


def tests_of(claims: Sequence[ValidityClaim]) -> int:
    """How many tests Holm's correction is over: of each claim in each sample, and at two conditions that are found."""
    return sum(len(SAMPLES) + 2 * claim.searched for claim in claims)


def can_find(scrutiny: Scrutiny, *, power: float = 0.9) -> list[dict[str, Any]]:
    """For each claim on a rate: the smallest true failure rate that each sample shows with that power, exactly.

    At the strictest step of Holm's correction over all tests, if a claim judges every query; of one that judges some
    it is larger. Of a search: that is suspicious at a single condition, by its `repeats` alone.
    None: no count of failures in that many queries could show it.
    """
    plan, told = scrutiny.plan, []
    sizes = [(name, getattr(plan, size), plan.alpha / tests_of(scrutiny.claims)) for name, size in SAMPLES.items()]
    sizes += [("one searched condition", plan.repeats, SUSPICION)] if plan.methods else []
    for claim in (one for one in scrutiny.claims if one.effect == "rate"):
        for place, n, alpha in sizes:
            rate = smallest_rate_seen(n, claim.bound, alpha=alpha, power=power)
            told.append({"claim": claim.name, "sample": place, "n": n, "rate": None if math.isnan(rate) else rate})
    return told
