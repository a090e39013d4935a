"""The verbs of checkpoint arithmetic: surefoot weights merge, add, negate, analogy, patch, average, soup, and more."""

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from surefoot.core import SurefootError

weights = App(name="weights", help="Merge, edit, compare and verify checkpoints on disk; nothing is held in memory.")

Out = Annotated[Path, Parameter(name=["--out", "-o"], help="A .safetensors file, or a folder for model.safetensors.")]
DryRun = Annotated[bool, Parameter(negative=(), help="Only say what would be read and written, memory and time.")]
Threads = Annotated[int | None, Parameter(help="Threads; as many as processors, at most 8, by default.")]
Shard = Annotated[str | None, Parameter(help="Write a folder of several files of at most this size, as 2GB.")]
Key = Annotated[str | None, Parameter(help="State to take of a .pt or .bin file that holds several: ema.")]
Moved = Annotated[
    tuple[str, ...], Parameter(negative=(), help="Where inputs of the recipe lie now: 'OLD=NEW', files or folders.")
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Rules:
    """What holds for every edit."""

    dtype: Annotated[str | None, Parameter(help="Type to write: F32, BF16, F16, F64. The base's by default.")] = None
    only: Annotated[tuple[str, ...], Parameter(negative=(), help="Edit only tensors like these: 'visual.*'.")] = ()
    missing: Annotated[
        Literal["error", "base", "tied"],
        Parameter(help="A tensor that a tuned checkpoint lacks; tied: take its twin's."),
    ] = "error"
    extra: Annotated[
        Literal["error", "drop", "keep"], Parameter(help="A tensor that the base lacks; keep: as the tuned one has it.")
    ] = "error"
    integers: Annotated[Literal["equal", "base"], Parameter(help="Whole numbers that differ.")] = "equal"
    nonfinite: Annotated[Literal["refuse", "flag"], Parameter(help="A result that is NaN or infinite.")] = "refuse"
    accumulate: Annotated[Literal["float32", "float64"], Parameter(help="Type to compute in.")] = "float32"
    digest: Annotated[Literal["xxh3", "sha256"], Parameter(help="Digest of the inputs.")] = "xxh3"
    pickle: Annotated[bool, Parameter(negative=(), help="Open .pt and .bin files (weights only).")] = False
    key: Key = None
    rename: Annotated[tuple[str, ...], Parameter(negative=(), help="Prefixes of tuned names: 'model.=' .")] = ()
    threads: Threads = None
    shard: Shard = None
    dry_run: DryRun = False


def _pairs(option: str, given: Sequence[str], what: str) -> dict[str, str]:
    if wrong := [one for one in given if "=" not in one]:
        raise SurefootError(f"{option} {wrong[0]}: write OLD=NEW, two {what}.")
    return dict(one.split("=", 1) for one in given)


def _open(path: Path, rules: Rules, *, tuned: bool = True) -> Any:
    from surefoot.weights import open_checkpoint

    renamed = _pairs("--rename", rules.rename, "prefixes of names") if tuned else None
    return open_checkpoint(path, pickle=rules.pickle, rename=renamed, key=rules.key)


def _kept(rules: Rules) -> Any:
    from surefoot.weights import EditRules

    return EditRules(**{one.name: getattr(rules, one.name) for one in fields(EditRules)})


def _write(vector: Any, out: Path, rules: Rules, coefficient: float = 1.0) -> None:
    # The coefficient is the recipe's, not the expression's, so that `apply --coefficient` takes its place.
    from surefoot.weights import apply, plan_edit

    vector = vector.filter(*rules.only) if rules.only else vector
    kept = _kept(rules)
    if rules.dry_run:
        _print_plan(plan_edit(vector, (coefficient,), rules=kept), out, rules.threads)
    else:
        how: dict[str, Any] = {"progress": _progress(), "threads": rules.threads, "shard": rules.shard}
        _print_report(apply(vector, out, coefficient, rules=kept, **how))


def _progress() -> Any:
    def show(done: int, total: int) -> None:
        print(f"\r{done / max(total, 1):4.0%}", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else None


def _print_plan(plan: Any, of: Path, threads: int | None, *, writes: bool = True) -> None:
    from surefoot.weights import engine, seconds, thread_count

    count = thread_count(threads)
    print(f"{of}: {len(plan.assignments)} tensors; nothing was written")
    print(f"reads   {_size(plan.read_bytes)}")
    print(f"writes  {_size(plan.written_bytes) if writes else 'nothing'}")
    print(f"memory  at most {plan.memory_bound(count) / 1e6:,.0f} MB beside the interpreter, with {count} threads")
    print(f"time    about {seconds(plan, count):,.1f} s with {engine()}, without the time of the disk")


def _size(count: int) -> str:
    return f"{count:,} bytes" if count < 1e6 else f"{count / 1e6:,.1f} MB"


def _print_report(report: Any) -> None:
    print(f"{report.path}: {report.tensors} tensors, {_size(report.bytes)}")
    print(f"norm of the edit {report.edit_norm:.6g}; lost in rounding {report.lost:.1%}")
    for warning in report.warnings:
        print(f"surefoot: warning: {warning}", file=sys.stderr)


@weights.command
def merge(config: Path, out: Path, /, *, threads: Threads = None, shard: Shard = None, dry_run: DryRun = False) -> None:
    """Merge as a YAML file in mergekit's format says: linear, slerp, ties, dare_ties, model_stock and others.

    Example: surefoot weights merge ties.yml merged
    """
    from surefoot.weights import merge as merge_to
    from surefoot.weights import plan_merge, read_configuration

    if dry_run:
        _print_plan(plan_merge(read_configuration(config))[0], out, threads)
    else:
        _print_report(merge_to(config, out, threads=threads, shard=shard, progress=_progress()))


@weights.command
def add(base: Path, *tuned: Path, out: Out, coefficient: float = 1.0, rules: Rules | None = None) -> None:
    """Learn: base + coefficient * sum of (tuned - base).

    Example: surefoot weights add base.safetensors cars.safetensors --coefficient 0.3 --out new.safetensors
    """
    from surefoot.weights import TaskVector

    rules = rules or Rules()
    start = _open(base, rules, tuned=False)
    parts = [TaskVector(start, _open(one, rules)) for one in _some(tuned)]
    _write(sum(parts[1:], parts[0]), out, rules, coefficient)


@weights.command
def negate(base: Path, tuned: Path, *, out: Out, coefficient: float = 1.0, rules: Rules | None = None) -> None:
    """Forget: base - coefficient * (tuned - base).

    Example: surefoot weights negate base.safetensors toxic.safetensors --coefficient 0.5 --out milder.safetensors
    """
    from surefoot.weights import TaskVector

    rules = rules or Rules()
    _write(-TaskVector(_open(base, rules, tuned=False), _open(tuned, rules)), out, rules, coefficient)


@weights.command
def analogy(
    base: Path, a: Path, b: Path, c: Path, *, out: Out, coefficient: float = 1.0, rules: Rules | None = None
) -> None:
    """A is to B as C is to the result: base + coefficient * (C - base + B - A).

    Example: surefoot weights analogy base.safetensors a.safetensors b.safetensors c.safetensors --out d.safetensors
    """
    from surefoot.weights import TaskVector
    from surefoot.weights import analogy as relate

    rules = rules or Rules()
    start = _open(base, rules, tuned=False)
    first, second, third = (TaskVector(start, _open(one, rules)) for one in (a, b, c))
    _write(relate(first, second, third), out, rules, coefficient)


@weights.command
def patch(base: Path, tuned: Path, *, out: Out, alpha: float, rules: Rules | None = None) -> None:
    """Patch (PAINT, WiSE-FT): (1 - alpha) base + alpha tuned; 0 is the base, 1 the tuned model, bit for bit.

    Example: surefoot weights patch base.safetensors tuned.safetensors --alpha 0.4 --out patched.safetensors
    """
    add(base, tuned, out=out, coefficient=alpha, rules=rules)


@weights.command
def average(
    *checkpoints: Path,
    out: Out,
    weight: Annotated[tuple[float, ...], Parameter(negative=(), help="One for each; equal by default.")] = (),
    rules: Rules | None = None,
) -> None:
    """Average (uniform soup, lo-fi); weights are divided by their sum.

    Example: surefoot weights average one.safetensors two.safetensors three.safetensors --out soup.safetensors
    """
    from surefoot.weights import mean

    rules = rules or Rules()
    _write(mean([_open(one, rules) for one in _some(checkpoints)], weight or None), out, rules)


@weights.command
def soup(
    *checkpoints: Path,
    out: Out,
    score: Annotated[
        str,
        Parameter(
            help="Command that ends with the held-out score, and the number of examples if known; {} is the file."
        ),
    ],
    rules: Rules | None = None,
) -> None:
    """Greedy soup: best first; each next checkpoint stays if the held-out score rises.

    Example: surefoot weights soup one.safetensors two.safetensors --score 'python score.py {}' --out soup.safetensors
    """
    from surefoot.weights import apply, greedy_soup, mean, plan_edit

    rules = rules or Rules()
    opened = [_open(one, rules) for one in _some(checkpoints)]
    if rules.dry_run:
        _print_plan(plan_edit(mean(opened), rules=_kept(rules)), out, rules.threads)
        print(f"score   the command runs {2 * len(opened) - 1} times, and as many candidates are written for it")
        return
    if not out.parent.is_dir():
        raise SurefootError(f"{out.parent}: No such folder.")
    inputs = {getattr(tensor, "path", Path()).resolve() for one in opened for tensor in one.tensors.values()}
    if {out.resolve(), (out / "model.safetensors").resolve()} & inputs:  # else said when all is scored
        raise SurefootError(f"{out} is one of the inputs; write somewhere else.")
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:

        def build(vector: Any) -> Path:
            vector = vector.filter(*rules.only) if rules.only else vector
            place = Path(folder) / "candidate.safetensors"
            return apply(vector, place, rules=_kept(rules), threads=rules.threads).path

        found = greedy_soup(opened, lambda path: _scored(score, path), build=build)
    for members, value in found.table:
        interval = f" ({value.interval[0]:.4f} to {value.interval[1]:.4f})" if value.n else ""
        print(f"{value.value:.6g}{interval}\t{' '.join(str(checkpoints[one]) for one in members)}")
    _write(found.vector, out, rules)


def _scored(command: str, path: Path) -> Any:
    from surefoot.weights import EditScore

    try:
        if "{}" not in command:
            raise ValueError("it needs {} where the file of each candidate stands, else all have one score")
        words = [word.replace("{}", str(path)) for word in shlex.split(command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except (OSError, ValueError, IndexError) as error:
        raise SurefootError(f"--score {command!r} cannot be run: {error}.") from None
    lines, said = done.stdout.strip().splitlines(), done.stderr.strip().splitlines()
    if done.returncode:
        raise SurefootError(f"The score command ended with {done.returncode}: {(said or ['it said nothing'])[-1]}.")
    try:
        value, *count = lines[-1].split()
        found = EditScore(value=float(value), n=int(*count))
    except (ValueError, IndexError, TypeError):
        raise SurefootError(
            f"The score command must print a number as its last line: {(lines or said or ['it printed nothing'])[-1]}."
        ) from None
    if not isfinite(found.value) or (found.n and not 0 <= found.value <= 1) or found.n < 0:
        raise SurefootError(
            f"The score command must print a finite number, a share of its examples, not {lines[-1]!r}."
        )
    return found


def _some(paths: Sequence[Path]) -> Sequence[Path]:
    if not paths:
        raise SurefootError("Name at least one checkpoint.")
    if twice := [one for one in paths if [path.resolve() for path in paths].count(one.resolve()) > 1]:
        raise SurefootError(f"{twice[0]} is named twice: it would count double.")
    return paths


@weights.command
def diff(base: Path, *tuned: Path, rules: Rules | None = None) -> None:
    """Compare: size of each difference, all in all and by layer, and the cosines between them.

    Example: surefoot weights diff base.safetensors cars.safetensors signs.safetensors
    """
    from surefoot.weights import TaskVector, plan_edit, statistics

    rules = rules or Rules()
    start = _open(base, rules, tuned=False)
    vectors = [TaskVector(start, _open(one, rules)) for one in _some(tuned)]
    if rules.only:
        vectors = [one.filter(*rules.only) for one in vectors]
    kept = _kept(rules)
    if rules.dry_run:
        plan = plan_edit(sum(vectors[1:], vectors[0]), rules=kept)
        _print_plan(plan, base, 1, writes=False)
        return
    found = statistics(vectors, rules=kept)
    for number, path in enumerate(tuned):
        share = f", {found.norms[number] / found.base_norm:.3g} of the base" if found.base_norm else ""
        if not isfinite(found.norms[number]):
            share = ", since it or the base has NaN or infinite values (weights inspect --values says where)"
        print(f"{path}: norm {_known(found.norms[number], '.6g')}{share}")
        for layer, gram in found.layers.items():
            print(f"  {_known(gram[number, number] ** 0.5, '12.6g')}  {_shown(layer)}")
    if found.uncounted:
        said = f"{len(found.uncounted)} tensors of whole numbers or 8-bit floats differ and are not counted"
        print(f"surefoot: warning: {said}: {', '.join(map(_shown, found.uncounted[:3]))}", file=sys.stderr)
    if len(tuned) > 1:
        print("cosines; none of a difference that is zero or not finite")
        for row in found.cosines:
            print("  " + " ".join(_known(value, "7.4f", "none") for value in row))


def _known(value: float, form: str, word: str = "unknown") -> str:
    return format(value, form) if isfinite(value) else format(word, f">{form.partition('.')[0]}")


@weights.command
def extract(
    base: Path,
    tuned: Path,
    /,
    *,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="A folder for the adapter.")],
    rank: Annotated[int, Parameter(help="Rank of each product; more holds more of the change.")] = 16,
    only: Annotated[tuple[str, ...], Parameter(negative=(), help="Only tensors like these: '*attn*'.")] = (),
    pickle: Annotated[bool, Parameter(negative=(), help="Open .pt and .bin files (weights only).")] = False,
    key: Key = None,
) -> None:
    """Extract a LoRA adapter: the nearest change of a rank to that from base to tuned, in the form of PEFT.

    Example: surefoot weights extract base.safetensors tuned.safetensors --rank 8 --out adapter
    """
    from surefoot.weights import extract as extract_to
    from surefoot.weights import open_checkpoint

    start, end = (open_checkpoint(path, pickle=pickle, key=key) for path in (base, tuned))
    report = extract_to(start, end, out, rank, only=only)
    print(f"{report.path}: {report.matrices} matrices of at most rank {rank}")
    print(f"of the change {report.lost:.1%} is not in it")
    if report.left_out:
        names = ", ".join(map(_shown, report.left_out[:3]))
        kinds = "norms, biases, embeddings, convolutions, attention's in_proj_weight, whole numbers, 8-bit floats"
        said = f"{len(report.left_out)} tensors changed that an adapter cannot hold ({kinds}), the most changed first"
        print(f"surefoot: warning: {said}: {names}", file=sys.stderr)


@weights.command
def inspect(
    path: Path,
    /,
    *,
    values: Annotated[bool, Parameter(negative=(), help="Read all: NaN or infinite, range and norm.")] = False,
    pickle: bool = False,
    key: Key = None,
    dry_run: DryRun = False,
) -> None:
    """List the tensors of a checkpoint, its metadata, and how it was made when it says so.

    Example: surefoot weights inspect patched.safetensors
    """
    from surefoot.weights import TaskVector, open_checkpoint, plan_edit
    from surefoot.weights import values as values_of

    found = open_checkpoint(path, pickle=pickle, key=key)
    print(f"{_shown(found.label)}: {len(found.tensors)} tensors, {_size(found.nbytes)}")
    if dry_run and values and not found.is_adapter:
        _print_plan(plan_edit(TaskVector(found)), path, 1, writes=False)
    if dry_run:
        return
    ranges = values_of(found) if values else {}
    for name, tensor in found.tensors.items():
        print(f"  {tensor.dtype:8s} {'x'.join(map(str, tensor.shape)) or 'scalar':>16s}  {_shown(name)}")
        if values:
            unread = "its values are not read, as it holds no floats of 16 bits or more"
            print(f"           {_range(ranges[name]) if name in ranges else unread}")
    for entry, value in found.metadata.items():
        print(f"  {_shown(entry)}: {_indented(value) if entry == 'surefoot' else _shown(value)}")


def _range(one: Any) -> str:
    bad = f"; {one.nonfinite} NaN or infinite" if one.nonfinite else ""
    known = f"from {one.low:.6g} to {one.high:.6g}, norm {one.norm:.6g}" if one.low <= one.high else "no finite value"
    return known + bad


def _shown(text: str) -> str:
    # Names come with the file: what would steer a terminal is shown as an escape.
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _indented(value: str) -> str:
    try:
        return json.dumps(json.loads(value), indent=1)
    except (ValueError, RecursionError):
        return _shown(value)


@weights.command
def apply(
    recipe: Path,
    out: Annotated[str, Parameter(help="File or folder; with several coefficients, a name with {} for each.")],
    /,
    *,
    coefficient: Annotated[tuple[float, ...], Parameter(negative=(), help="Instead of the recipe's own.")] = (),
    moved: Moved = (),
    threads: Threads = None,
    shard: Shard = None,
    dry_run: DryRun = False,
) -> None:
    """Write again what NAME.safetensors.recipe.json says, at other coefficients if asked: all of them in one reading.

    Example: surefoot weights apply patched.safetensors.recipe.json 'a-{}.safetensors' --coefficient 0 --coefficient 1
    """
    from surefoot.weights import replan, rewrite

    if len(coefficient) > 1 and "{}" not in out:
        raise SurefootError("Several coefficients need a name with {} in it, for each.")
    outs = {one: Path(out.replace("{}", f"{one:.15g}")) for one in coefficient}
    places = _pairs("--moved", moved, "paths")
    if dry_run:
        plan = replan(recipe, moved=places)
        _print_plan(replace(plan, coefficients=coefficient or plan.coefficients), Path(out), threads)
        return
    given: dict[str, Any] = {"threads": threads, "shard": shard, "moved": places}
    for report in rewrite(recipe, outs or Path(out), progress=_progress(), **given):
        _print_report(report)


@weights.command
def verify(path: Path, /, *, moved: Moved = (), threads: Threads = None, dry_run: DryRun = False) -> int:
    """Replay the recipe in a file and compare every bit and all it says; exits with 1 when something differs.

    Example: surefoot weights verify patched.safetensors
    """
    from surefoot.weights import replan
    from surefoot.weights import verify as replay

    places = _pairs("--moved", moved, "paths")
    if dry_run:
        _print_plan(replan(path, moved=places), path, threads, writes=False)
        return 0
    found = replay(path, threads=threads, moved=places)
    for label in found.changed:
        print(f"input changed: {label}")
    for what in found.disagreeing:
        print(f"not what the replay gives: {what}")
    print(f"{found.path}: {f'{found.differing} bytes differ' if found.differing else 'every bit came out again'}")
    return 0 if found.holds else 1
