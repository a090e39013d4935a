"""The compiled kernel gives the bits of the numpy code, for every method it knows, type, size and odd value."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surefoot.weights import EditRules, MergePlan
from surefoot.weights._arithmetic import _kernel as kernel
from surefoot.weights._arithmetic._chunks import Chunk, ChunkReader
from surefoot.weights._arithmetic._engine import compute
from surefoot.weights._arithmetic._methods import METHODS, edit
from surefoot.weights._arithmetic._plan import Assignment, Row
from surefoot.weights._files._checkpoint import Array, Files
from surefoot.weights._files._types import encode

TYPES = ("BF16", "F16", "F32")
ODD = (0.0, -0.0, 1e-40, -1e-40, 6e-8, 1e-45, 65504.0, 65519.9, 7e4, 3.3e38, -3.39e38, 1e19, np.inf, -np.inf, np.nan)
needs_kernel = pytest.mark.skipif(kernel.library() is None, reason="the kernel was not built: there is no C compiler")


def inputs(seed: int, types: list[str], size: int, odd: int) -> tuple[Array, ...]:
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(size) * 0.02
    found = []
    for position, dtype in enumerate(types):
        values = base + rng.standard_normal(size) * 0.004 * (position > 0) * (rng.random(size) < 0.8)
        places = rng.integers(0, size, odd)
        values[places] = rng.choice(ODD, odd)
        found.append(Array(dtype=dtype, shape=(size,), data=encode(values, dtype)[0]))
    return tuple(found)


def computed(one: Assignment, coefficients: tuple[float, ...], chunk: int) -> tuple[list[bytes], list[Row]]:
    plan = MergePlan(assignments=(one,), coefficients=coefficients, chunk=chunk, rules=EditRules(nonfinite="flag"))
    outs = [bytearray(one.nbytes) for _ in coefficients]

    def sink(output: int, position: int, raw: np.ndarray) -> None:
        outs[output][position : position + raw.size] = raw.tobytes()

    with Files() as files, ThreadPoolExecutor(1) as workers:
        rows = compute(plan, [0], sink, files, workers)
    return [bytes(out) for out in outs], rows


def both(
    one: Assignment, coefficients: tuple[float, ...] = (1.0,), chunk: int = 1 << 12, *, tame: bool = False
) -> None:
    fast, seen = computed(one, coefficients, chunk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "library", lambda: None)
        slow, known = computed(one, coefficients, 1 << 16)
    assert fast == slow
    assert [row.nonfinite for row in seen] == [row.nonfinite for row in known]
    for mine, theirs in zip(seen, known, strict=True):
        if tame:  # squares of 32-bit numbers beyond 1e19 are left out of the sums, by chunk
            assert mine.edit == pytest.approx(theirs.edit, rel=1e-4, abs=1e-30)
            step = 1e-7 * np.sqrt(max(theirs.edit))  # numpy measures with 64 bits: no step is rounded, but sums are
            assert np.sqrt(mine.lost) == pytest.approx(np.sqrt(theirs.lost), rel=1e-4, abs=max(step, 1e-15))


def assignment(method: Any, sources: tuple[Array, ...], dtype: str) -> Assignment:
    labels = tuple(f"model {number}" for number in range(len(sources)))
    return Assignment(name="w", dtype=dtype, sources=sources, labels=labels, method=method)


some_inputs = {
    "seed": st.integers(0, 1 << 30),
    "types": st.lists(st.sampled_from(TYPES), min_size=2, max_size=4),
    "out": st.sampled_from(TYPES),
    "size": st.integers(1, 5000),
    "odd": st.sampled_from((0, 0, 1, 30)),
    "chunk": st.sampled_from((37, 256, 1 << 10, 1 << 16)),
}


@needs_kernel
@settings(max_examples=100, deadline=None)
@given(**some_inputs, weights=st.lists(st.floats(-2, 2), min_size=3, max_size=3), equal=st.booleans())
def test_an_edit_has_the_bits_of_numpy(
    *, seed: int, types: list[str], out: str, size: int, odd: int, chunk: int, weights: list[float], equal: bool
) -> None:
    sources = inputs(seed, types, size, odd)
    terms: list[tuple[float, int, int | None]] = [
        (weights[0] if equal else weights[index], index, None) for index in range(len(sources) - 1)
    ]
    if len(terms) == 3:
        terms[1] = (terms[1][0], 1, 2)  # between two tuned inputs
    both(assignment(partial(edit, terms=terms), sources, out), (1.0, 0.3, 0.0, -0.7, 0.9), chunk, tame=not odd)


PARAMETERS = {
    "ties": ("density",),
    "dare_linear": ("density",),
    "dare_ties": ("density",),
    "breadcrumbs": ("density", "gamma"),
}


@needs_kernel
@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=40, deadline=None)
@given(
    **some_inputs,
    density=st.sampled_from((0.0, 0.1, 0.5, 0.9, 1.0)),
    normalize=st.booleans(),
    scale=st.sampled_from((1.0, 0.8)),
)
def test_a_sparse_merge_has_the_bits_of_numpy(
    *, name: str, seed: int, types: list[str], out: str, size: int, odd: int, chunk: int, density: float,
    normalize: bool, scale: float,
) -> None:  # fmt: skip
    sources = inputs(seed, types, size, odd)
    weight = tuple(np.random.default_rng(seed).uniform(-0.3, 0.9, len(sources) - 1).tolist())
    given: dict[str, Any] = {"density": density, "gamma": 0.02}
    settings = {each: (given[each],) * len(weight) for each in PARAMETERS[name]}
    method = partial(METHODS[name], weight=weight, normalize=normalize, scale=scale, **settings)
    both(assignment(method, sources, out), chunk=chunk, tame=not odd)


@needs_kernel
@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_every_pattern_of_sixteen_bits_is_decoded_and_every_rounding_is_that_of_numpy(dtype: str) -> None:
    patterns = np.arange(1 << 16, dtype=np.uint16)
    zero = np.zeros_like(patterns)
    whole = [Array(dtype=dtype, shape=patterns.shape, data=one.view(np.uint8)) for one in (patterns, zero)]
    both(assignment(partial(edit, terms=[(1.0, 0, None)]), tuple(whole), "F32"), (0.25, 0.75), 1 << 10)
    halfway = np.random.default_rng(0).integers(0, 1 << 32, 1 << 18, dtype=np.uint32)
    halfway[::2] &= 0xFFFF8000  # of BF16; the next line of F16
    halfway[::3] &= 0xFFFFF000
    values = halfway.view(np.float32)
    with np.errstate(all="ignore"):
        near = np.nextafter(values, np.float32(0))
    pair = [Array(dtype="F32", shape=values.shape, data=one.view(np.uint8)) for one in (values, near)]
    both(assignment(partial(edit, terms=[(1.0, 0, None)]), tuple(pair), dtype), (1e-12, 0.5), 1 << 10)


@needs_kernel
def test_random_masks_are_those_of_numpy_across_a_multiple_of_two_to_the_thirty_two() -> None:
    base, tuned = inputs(0, ["F32", "F32"], 4000, 0)
    whole = ChunkReader(name="w", shape=(4000,), sources=(base, tuned), labels=("a",), files=Files())
    made = METHODS["dare_linear"](whole, weight=(1.0,), density=(0.4,), seed=3)
    for start in ((1 << 32) - 1700, (5 << 32) - 1, 7 << 32):
        chunk = Chunk(whole, start, 4000, (base.data, tuned.data))
        found = kernel.compute(made.fused, chunk, [1.0], "F32")
        assert found is not None
        expected = made.finish(chunk, made.compute(chunk), 1.0)
        assert found.raw[0].tobytes() == expected.tobytes()


@needs_kernel
def test_magnitudes_are_selected_as_by_sorting() -> None:
    for dtype in TYPES:
        sources = inputs(1, [dtype] * 3, 30_000, 0)
        whole = ChunkReader(name="w", shape=(30_000,), sources=sources, labels=("a", "b"), files=Files(), chunk=700)
        ranks = [[0, 29_999], [15_000]]
        found = kernel.magnitudes(whole, ranks)
        chunks = list(whole.chunks())
        for index, some in enumerate(ranks):
            ordered = np.sort(np.abs(np.concatenate([chunk.delta(index) for chunk in chunks])))
            assert found is not None and found[index] == [ordered[rank] for rank in some]


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_the_kernel_is_compiled_when_the_package_is_built_and_an_old_one_is_not_used(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    place = tmp_path / "src" / "surefoot" / "weights" / "_arithmetic"
    place.mkdir(parents=True)
    shutil.copy(root / "hatch_build.py", tmp_path)
    shutil.copy(root / "src" / "surefoot" / "weights" / "_arithmetic" / "_kernel.c", place)
    subprocess.run([sys.executable, tmp_path / "hatch_build.py"], check=True)
    code = (
        "import sys\nfrom pathlib import Path\nfrom surefoot.weights._arithmetic import _kernel\n"
        "_kernel.__file__ = sys.argv[1]\nprint(_kernel.library() is not None)"
    )
    command = [sys.executable, "-c", code, str(place / "_kernel.py")]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "True"
    with (place / "_kernel.c").open("a") as file:
        file.write("/* newer */\n")
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip() == "False"


def test_without_a_compiler_the_build_goes_on_without_the_kernel(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    place = tmp_path / "src" / "surefoot" / "weights" / "_arithmetic"
    place.mkdir(parents=True)
    shutil.copy(root / "hatch_build.py", tmp_path)
    shutil.copy(root / "src" / "surefoot" / "weights" / "_arithmetic" / "_kernel.c", place)
    command = [sys.executable, str(tmp_path / "hatch_build.py")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={"CC": "/nonexistent/cc"})
    assert done.returncode == 1 and "numpy does its work" in done.stderr
    assert [file.name for file in place.iterdir()] == ["_kernel.c"]
