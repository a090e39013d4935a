"""The verbs of `surefoot weights`, run on real files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from making import data, model, write

from surefoot.cli import app
from surefoot.core import SurefootError
from surefoot.weights._files._safetensors import header_bytes


def run(*words: str | Path) -> int | None:
    return app(["weights", *map(str, words)], result_action="return_value")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    return [
        write(tmp_path / f"{name}.safetensors", model(number)) for number, name in enumerate(("base", "a", "b", "c"))
    ]


def values(path: Path) -> np.ndarray:
    return np.frombuffer(data(path)[:2000], np.float32)


def test_every_verb_writes_what_its_formula_says(files: list[Path], tmp_path: Path) -> None:
    base, a, b, c = files
    w, x, y, z = (values(path).astype(float) for path in files)
    cases = {
        ("add", base, a, b, "--coefficient", "0.3"): w + 0.3 * (x + y - 2 * w),
        ("negate", base, a, "--coefficient", "0.5"): w - 0.5 * (x - w),
        ("analogy", base, a, b, c): w + (z - w) + (y - x),
        ("patch", base, a, "--alpha", "0.25"): 0.75 * w + 0.25 * x,
        ("average", a, b, c): (x + y + z) / 3,
        ("average", a, b, "--weight", "3", "--weight", "1"): 0.75 * x + 0.25 * y,
        ("add", base, a, "--only", "head*"): w,
    }
    out = tmp_path / "out.safetensors"
    for words, expected in cases.items():
        assert run(*words, "--out", out, "--dry-run") in (None, 0)
        assert not out.exists()
        run(*words, "--out", out)
        assert np.allclose(values(out), expected, atol=1e-7), words
        assert run("verify", out) == 0
        out.unlink()


def test_a_merge_from_yaml_is_planned_written_and_replayed(
    files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "ties.yml"
    config.write_text(
        "merge_method: ties\nbase_model: base.safetensors\nparameters: {density: 0.5}\n"
        "models:\n- {model: a.safetensors, parameters: {weight: 1e-1}}\n"
        "- {model: b.safetensors, parameters: {weight: 0.2}}\n"
    )
    run("merge", config, "out", "--dry-run")
    assert "memory  at most" in capsys.readouterr().out and not Path("out").exists()
    run("merge", config, "out")
    assert run("verify", "out") == 0
    whole = Path("out/model.safetensors").read_bytes()
    Path("out/model.safetensors").write_bytes(whole[:-20] + bytes([whole[-20] ^ 1]) + whole[-19:])
    assert run("verify", "out") == 1
    assert "1 bytes differ" in capsys.readouterr().out
    write(files[1], model(9))
    assert run("verify", "out") == 1
    assert "input changed: a.safetensors" in capsys.readouterr().out


def test_a_recipe_is_applied_again_at_many_coefficients_in_one_reading(files: list[Path], tmp_path: Path) -> None:
    run("add", files[0], files[1], "--coefficient", "0.5", "--out", "first.safetensors")
    run("apply", "first.safetensors.recipe.json", "again.safetensors")
    assert data(Path("again.safetensors")) == data(Path("first.safetensors"))
    run("apply", "first.safetensors.recipe.json", "at-{}.safetensors", "--coefficient", "0", "--coefficient", "1")
    assert data(Path("at-0.safetensors")) == data(files[0])
    assert data(Path("at-1.safetensors")) == data(files[1])
    assert run("verify", "at-1.safetensors") == 0


def test_the_help_applies_the_recipe_that_patch_leaves(files: list[Path]) -> None:
    told = str(app["weights"]["apply"].help)
    run("patch", *files[:2], "--alpha", "0.4", "--out", "patched.safetensors")
    assert Path(told.partition("surefoot weights apply ")[2].split()[0]).is_file()


def test_a_soup_is_scored_by_a_command(files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = tmp_path / "score.py"
    script.write_text(
        "import sys, numpy\nfrom safetensors.numpy import load_file\n"
        "print(-abs(load_file(sys.argv[1])['visual.a'] - load_file('base.safetensors')['visual.a']).mean())"
    )
    run("soup", *files[1:], "--score", f"{sys.executable} {script} {{}}", "--out", "soup.safetensors")
    assert len(capsys.readouterr().out.splitlines()) == 3 + 2 + 2
    assert np.allclose(
        values(Path("soup.safetensors")), np.mean([values(path) for path in files[1:]], axis=0), atol=1e-7
    )
    with pytest.raises(SurefootError, match="must print a number"):
        run("soup", *files[1:], "--score", f"{sys.executable} -c pass {{}}", "--out", "soup2.safetensors")


def test_inspect_and_diff_say_what_is_there(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("patch", files[0], files[1], "--alpha", "0.5", "--out", "out.safetensors")
    capsys.readouterr()
    run("inspect", "out.safetensors")
    text = capsys.readouterr().out
    assert "5 tensors" in text and "50x10  visual.a" in text and '"recipe"' in text
    run("diff", files[0], files[1], files[2])
    text = capsys.readouterr().out
    assert "of the base" in text and "cosines" in text and " 1.0000" in text


@pytest.mark.parametrize("verb", ["add", "average", "soup", "diff"])
def test_a_checkpoint_that_is_named_twice_is_refused(verb: str, files: list[Path], tmp_path: Path) -> None:
    base, a, b, _ = files
    again = a.parent / ".." / a.parent.name / a.name
    more = {"diff": [], "soup": ["--score", "true", "--out", tmp_path / "o.safetensors"]}
    with pytest.raises(SurefootError, match=f"{a.name} is named twice: it would count double"):
        run(verb, base, a, b, again, *more.get(verb, ["--out", tmp_path / "o.safetensors"]))


def test_a_score_command_that_fails_is_told_and_leaves_nothing(files: list[Path], tmp_path: Path) -> None:
    script = tmp_path / "score.py"
    script.write_text("import sys\nprint(1)\nsys.exit('no data')")
    cases = {
        f"{sys.executable} {script} {{}}": "ended with 1: no data",
        "no-such-command {}": "cannot be run",
        "'": "cannot be run",
        f"{sys.executable} -c \"print('nan')\" {{}}": "finite number",
        f'{sys.executable} -c "print(0.5)"': "it needs {} where the file of each candidate stands",
    }
    for command, message in cases.items():
        with pytest.raises(SurefootError, match=message):
            run("soup", *files[1:], "--score", command, "--out", "soup.safetensors")
    with pytest.raises(SurefootError, match="nowhere: No such folder"):
        run("soup", *files[1:], "--score", "true", "--out", "nowhere/soup.safetensors")
    with pytest.raises(SurefootError, match="is one of the inputs"):  # before the hours of scoring, not after them
        run("soup", *files[1:], "--score", "no-such-command", "--out", files[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [*sorted(path.name for path in files), "score.py"]


def test_candidates_of_a_soup_obey_the_rules_of_the_soup(files: list[Path], tmp_path: Path) -> None:
    tensors = model(2)
    tensors["steps"] = ("I64", np.array([9, 9]))
    write(files[2], tensors)
    script = tmp_path / "score.py"
    script.write_text(
        "import sys\nfrom safetensors.numpy import load_file\nfound = load_file(sys.argv[1])\n"
        "assert found['visual.a'].dtype == 'float16', found['visual.a'].dtype\nprint(-found['visual.a'].std())"
    )
    words = ["soup", *files[1:], "--score", f"{sys.executable} {script} {{}}", "--out", "soup.safetensors"]
    run(*words, "--integers", "base", "--dtype", "F16")
    assert run("verify", "soup.safetensors") == 0


@pytest.mark.parametrize(
    "words",
    [
        ("diff", "base.safetensors", "a.safetensors", "b.safetensors"),
        ("soup", "a.safetensors", "b.safetensors", "--score", "false", "--out", "soup.safetensors"),
        ("inspect", "base.safetensors", "--values"),
        ("verify", "made.safetensors"),
        ("apply", "made.safetensors.recipe.json", "again-{}.safetensors", "--coefficient", "0.1"),
    ],
)
def test_a_dry_run_tells_bytes_memory_and_time_and_writes_nothing(
    words: tuple[str, ...], files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("patch", *files[:2], "--alpha", "0.5", "--out", "made.safetensors")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    capsys.readouterr()
    run(*words, "--dry-run")
    text = capsys.readouterr().out
    assert all(f"\n{what} " in text for what in ("reads", "writes", "memory", "time"))
    assert ("writes  nothing" in text) == (words[0] in ("diff", "inspect", "verify"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_inspect_finds_what_is_not_finite_and_shows_no_control_signs(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = {"w": ("F16", np.array([1.0, np.nan, -3.0, np.inf])), "x\x1b[2J": ("F32", np.ones(1))}
    write(files[0], tensors, {"surefoot": "no JSON", "note": "\x1b]0;title"})
    run("inspect", files[0], "--values")
    text = capsys.readouterr().out
    assert "from -3 to 1, norm 3.16228; 2 NaN or infinite" in text
    assert "\x1b" not in text and "x\\x1b[2J" in text and "surefoot: no JSON" in text


def test_inspect_and_diff_have_words_for_what_is_no_number(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.array([np.nan, np.inf])
    write(files[0], {"w": ("F16", nothing), "e": ("F32", np.zeros(0)), "n": ("I64", np.ones(2))})
    raw = header_bytes({"f": ("F8_E4M3", (2,))}, {}) + bytes(2)
    files[3].write_bytes(raw)
    run("inspect", files[0], "--values")
    text = capsys.readouterr().out
    assert "no finite value; 2 NaN or infinite" in text and "no finite value\n" in text and " inf " not in text
    assert text.count("its values are not read, as it holds no floats of 16 bits or more") == 1
    run("inspect", files[3], "--values")
    assert "its values are not read" in capsys.readouterr().out
    for number, path in enumerate(files[:3]):
        write(path, {"w": ("F32", np.array([1.0, np.nan if number == 2 else 1.0 + number]))})
    run("diff", *files[:3])
    told = capsys.readouterr().out
    assert "nan" not in told and f"{files[2]}: norm unknown, since it or the base has NaN or infinite values" in told
    assert "norm 1, 0.707 of the base" in told and "   none" in told


def test_a_diff_is_of_the_tensors_that_are_asked_for(files: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    run("diff", files[0], files[1], "--only", "head*")
    assert capsys.readouterr().out.startswith(f"{files[1]}: norm 0, 0 of the base")


def test_a_file_that_came_from_elsewhere_is_verified_with_its_inputs_where_they_lie(
    files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run("patch", *files[:2], "--alpha", "0.5", "--out", "out.safetensors")
    files[0].rename("other.safetensors")
    with pytest.raises(SurefootError, match="--moved OLD=NEW"):
        run("verify", "out.safetensors")
    assert run("verify", "out.safetensors", "--moved", f"{files[0]}=other.safetensors") == 0
    with pytest.raises(SurefootError, match="write OLD=NEW, two paths"):
        run("verify", "out.safetensors", "--moved", "other.safetensors")
    Path("out.safetensors.recipe.json").write_text("{}")
    capsys.readouterr()
    assert run("verify", "out.safetensors", "--moved", f"{files[0]}=other.safetensors") == 1
    assert "not what the replay gives: out.safetensors.recipe.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "Not YAML"),
        ("- 1", "is a mapping"),
        ("merge_method: nothing", "merge_method 'nothing' is unknown"),
        ("merge_method: ties", "needs base_model"),
        ("merge_method: linear", "either models or slices"),
        ("{merge_method: linear, models: [], }", "not empty"),
        ("{merge_method: linear, models: [{model: a.safetensors}]}", "'weight' is missing"),
        ("{merge_method: linear, tokenizer_source: union, models: [{model: a.safetensors}]}", "vocabularies"),
        ("{merge_method: linear, chat_template: x, models: [{model: a.safetensors}]}", "take the key out"),
        ("{merge_method: linear, model: [{model: a.safetensors}]}", "'model', which is not understood: it has"),
        (
            "{merge_method: linear, tokenizer: {source: union}, models: [{model: a.safetensors}]}",
            "one vocabulary first",
        ),
        ("{merge_method: linear, tokenizer: {tokens: {}}, models: [{model: a.safetensors}]}", "one vocabulary first"),
        ("{merge_method: linear, modules: {a: {}, b: {}}}", "one configuration for each module"),
        ("{merge_method: linear, modules: {a: {experts: []}}}", "has models or slices"),
        ("{merge_method: linear, models: [{model: a.safetensors, wieght: 1}]}", "a.safetensors' has the key 'wieght'"),
        ("{merge_method: passthrough, slices: [{sources: [], residual_weight: 1}]}", "sources of the slice weights"),
        (
            "{merge_method: model_stock, base_model: base.safetensors, parameters: {filter_wise: true},"
            " models: [{model: a.safetensors}, {model: b.safetensors}]}",
            "filter_wise: True is not offered; leave it out",
        ),
        (
            "{merge_method: nuslerp, parameters: {nuslerp_row_wise: true, weight: 1},"
            " models: [{model: a.safetensors}, {model: b.safetensors}]}",
            "nuslerp_row_wise: True is not offered",
        ),
        ("{merge_method: linear, models: [{model: gone}]}", "No such file"),
        (
            "{merge_method: linear, models: [{model: a.safetensors, parameters: {weight: 1}},"
            " {model: b.safetensors, parameters: {weight: -1}}]}",
            "sum to zero",
        ),
        (
            "{merge_method: linear, parameters: {wieght: 1},"
            " models: [{model: a.safetensors, parameters: {weight: 1}}]}",
            "no parameter 'wieght'",
        ),
        ("{merge_method: slerp, base_model: base.safetensors, models: [{model: a.safetensors}]}", "'t' is missing"),
        ("{merge_method: linear, dtype: int3, models: [{model: a.safetensors}]}", "The type 'int3' cannot be written"),
    ],
)
def test_a_wrong_configuration_is_named(content: str, message: str, files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "config.yml").write_text(content)
    with pytest.raises(SurefootError, match=message):
        run("merge", "config.yml", "out.safetensors")
    assert files and not Path("out.safetensors").exists()


def test_a_single_module_and_the_settings_that_are_the_only_way_are_understood(files: list[Path]) -> None:
    plain = "{merge_method: nuslerp, parameters: {weight: 1}, models: [{model: a.safetensors}, {model: b.safetensors}]}"
    wrapped = (
        "{merge_method: nuslerp, tokenizer: {source: base}, parameters: {nuslerp_flatten: true}, modules: {default:"
        " {parameters: {weight: 1}, models: [{model: a.safetensors}, {model: b.safetensors}]}}}"
    )
    for name, content in (("plain", plain), ("wrapped", wrapped)):
        Path(f"{name}.yml").write_text(content)
        run("merge", f"{name}.yml", f"{name}.safetensors")
    assert data(Path("plain.safetensors")) == data(Path("wrapped.safetensors"))
    assert files and run("verify", "wrapped.safetensors") == 0


def test_the_arithmetic_imports_neither_torch_nor_numba() -> None:
    code = "import surefoot.weights, sys; print([n for n in ('torch', 'numba', 'scipy', 'yaml') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("verb", "sign"), [("add", 1), ("negate", -1), ("patch", 1)])
def test_another_coefficient_takes_the_place_of_the_first(verb: str, sign: int, files: list[Path]) -> None:
    run(verb, *files[:2], "--alpha" if verb == "patch" else "--coefficient", "0.25", "--out", "first.safetensors")
    run("apply", "first.safetensors", "{}.safetensors", "--coefficient", "0.5", "--coefficient", "0.25")
    start, end = (values(path).astype(float) for path in files[:2])
    assert values(Path("0.5.safetensors")) == pytest.approx(start + sign * 0.5 * (end - start), rel=1e-5, abs=1e-6)
    assert data(Path("0.25.safetensors")) == data(Path("first.safetensors"))
