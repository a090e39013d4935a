"""What a written file says of itself is checked against a replay, and inputs may have moved."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from making import data, model, write

from surefoot.core import SurefootError
from surefoot.weights import EditRules, TaskVector, apply, from_state, merge, open_checkpoint, rewrite, state, verify

OUT, BESIDE = Path("out.safetensors"), Path("out.safetensors.recipe.json")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.chdir(tmp_path)
    names = (Path(f"{name}.safetensors") for name in ("base", "a"))
    paths = [write(name, model(number, "BF16")) for number, name in enumerate(names)]
    apply(0.4 * TaskVector(*map(open_checkpoint, paths)), OUT)
    return paths


def flip(path: Path, position: int, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= bits
    path.write_bytes(content)


def say(change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite the metadata of the output, with the same tensors."""
    content, body = OUT.read_bytes(), data(OUT)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    said = json.loads(header["__metadata__"]["surefoot"])
    change(said)
    header["__metadata__"]["surefoot"] = json.dumps(said)
    text = json.dumps(header).encode()
    OUT.write_bytes(len(text).to_bytes(8, "little") + text + body)


def test_a_byte_of_the_output_or_of_an_input_is_found(files: list[Path]) -> None:
    assert verify(OUT).holds
    flip(OUT, -1)
    found = verify(OUT)
    assert found.differing == 1 and not found.changed and not found.holds
    flip(OUT, -1)
    flip(files[1], -40, 8)  # in the weights: the replay gives other bits
    assert verify(OUT).differing and verify(OUT).changed == ("a.safetensors",)
    told = ("a.safetensors has changed since the recipe was written: this is another result",)
    for recipe in (OUT, BESIDE):
        assert [one.warnings for one in rewrite(recipe, {0.4: "again.safetensors", 0.9: "more.safetensors"})] == [
            told
        ] * 2


def test_a_changed_input_is_told_even_where_rounding_hides_it(files: list[Path]) -> None:
    wide = write(Path("wide.safetensors"), model(1, "F32"))
    apply(0.4 * TaskVector(open_checkpoint(files[0]), open_checkpoint(wide)), OUT)
    flip(wide, len(wide.read_bytes()) - len(data(wide)))  # the last bit of one 32-bit number
    found = verify(OUT)
    assert found.differing == 0 and found.changed == ("wide.safetensors",) and not found.holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said.update(coefficient=0.5), "differing"),
        (lambda said: said.update(lost="0.900"), "lost"),
        (lambda said: said.update(lost=None), "lost"),
        (lambda said: said.update(accumulate="float64"), "accumulate"),
        (lambda said: said["inputs"].update({"a.safetensors": "xxh3_128:0"}), "changed"),
        (lambda said: said["inputs"].pop("a.safetensors"), "changed"),
    ],
)
def test_metadata_that_says_something_else_is_found(
    change: Callable[[dict[str, Any]], object], message: str, files: list[Path]
) -> None:
    say(change)
    BESIDE.unlink()
    found = verify(OUT)
    assert files and not found.holds
    assert {"differing": found.differing, "changed": found.changed}.get(message, message in found.disagreeing)


def test_a_recipe_beside_the_file_that_says_something_else_is_found(files: list[Path]) -> None:
    text = BESIDE.read_text()
    for wrong in (text.replace('"coefficient": 1.0', '"coefficient": 1.5'), text.replace("a.safe", "b.safe"), "{", "3"):
        assert wrong != text
        BESIDE.write_text(wrong)
        assert verify(OUT).disagreeing == (BESIDE.name,) and not verify(OUT).holds
    BESIDE.write_text(text)
    assert files and verify(OUT).holds


DAMAGED: list[Any] = [None, 3, "x", [], {}, [99], {"kind": "edit"}, {"kind": "merge"}, {"kind": "edit", "edit": {}}]


@pytest.mark.parametrize("recipe", DAMAGED)
def test_a_damaged_recipe_is_an_error_and_no_trace(recipe: Any, files: list[Path]) -> None:
    said = json.loads(BESIDE.read_text())
    BESIDE.write_text(json.dumps({**said, "recipe": recipe}))
    with pytest.raises(SurefootError, match="Its recipe is damaged"):
        rewrite(BESIDE, "again.safetensors")
    assert files and not Path("again.safetensors").exists()


@pytest.mark.parametrize("place", [["edit", "checkpoints"], ["edit", "terms"], ["edit", "base"], ["rules"]])
@pytest.mark.parametrize("value", [None, -7, "x", [[1]], {"a": 1}])
def test_damage_deep_in_a_recipe_is_an_error_and_no_trace(place: list[str], value: Any, files: list[Path]) -> None:
    said = json.loads(BESIDE.read_text())
    (said["recipe"]["edit"] if len(place) == 2 else said["recipe"])[place[-1]] = value
    BESIDE.write_text(json.dumps(said))
    with pytest.raises(SurefootError, match=r"Its recipe is damaged|has no recipe"):
        rewrite(BESIDE, "again.safetensors")
    assert files


def test_inputs_that_have_moved_are_found_where_they_are_said_to_be(files: list[Path], tmp_path: Path) -> None:
    ties = {
        "merge_method": "dare_ties",  # its masks depend on the names of the models, which stay
        "base_model": "base.safetensors",
        "parameters": {"weight": 0.5, "density": 0.5},
        "models": [{"model": "a.safetensors"}],
    }
    merge(ties, "merged.safetensors")
    (tmp_path / "new" / "deep").mkdir(parents=True)
    files[0].rename("new/first.safetensors")
    files[1].rename("new/deep/a.safetensors")
    moved = {"base.safetensors": "new/first.safetensors", "a.safetensors": str(tmp_path / "new/deep/a.safetensors")}
    for name in (OUT, Path("merged.safetensors")):
        with pytest.raises(SurefootError, match=r"No such file or folder. .*--moved OLD=NEW"):
            verify(name)
        assert verify(name, moved=moved).holds
    assert rewrite(BESIDE, "again.safetensors", moved=moved)[0].warnings == ()
    assert data(Path("again.safetensors")) == data(OUT)


def test_a_folder_of_inputs_that_has_moved_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("base", "a")):
        (tmp_path / "old" / name).mkdir(parents=True)
        write(tmp_path / "old" / name / "model.safetensors", model(number))
    apply(0.5 * TaskVector(open_checkpoint("old/base"), open_checkpoint("old/a")), OUT)
    Path("old").rename("new")
    assert verify(OUT, moved={"old": "new"}).holds


def test_names_of_types_are_understood_as_libraries_write_them(files: list[Path]) -> None:
    vector = TaskVector(*map(open_checkpoint, files))
    wide = apply(vector, "wide.safetensors", rules=EditRules(dtype="float32")).path
    assert open_checkpoint(wide).tensors["visual.a"].dtype == "F32" and verify(wide).holds
    for dtype in ("I64", "F8_E4M3", "f32"):
        with pytest.raises(
            SurefootError, match=f"The type '{dtype}' cannot be written: choose one of BF16, F16, F32, F64"
        ):
            apply(vector, "out2.safetensors", rules=EditRules(dtype=dtype))


def test_rules_that_are_none_and_filters_that_fit_nothing_are_refused(files: list[Path]) -> None:
    vector = TaskVector(*map(open_checkpoint, files))
    for rule in ({"missing": "skip"}, {"extra": "add"}, {"integers": "mean"}, {"accumulate": "float16"}):
        with pytest.raises(SurefootError, match=r"cannot be .*: choose one of"):
            EditRules(**rule)
    with pytest.raises(SurefootError, match=r"base.safetensors has no tensor like 'visul.\*'; first: 'visual.a'"):
        apply(vector.filter("visual.*", "visul.*"), "out2.safetensors")
    assert np.frombuffer(data(apply(vector.filter("visual.*"), "out2.safetensors").path), np.uint8).size


def test_shards_tell_of_changed_inputs_by_the_recipe_beside_their_index(files: list[Path]) -> None:
    folder = Path("shards")
    apply(0.4 * TaskVector(*map(open_checkpoint, files)), folder, shard=100)
    assert rewrite(folder, "again.safetensors")[0].warnings == ()
    flip(files[1], -40, 8)
    told = ("a.safetensors has changed since the recipe was written: this is another result",)
    first, *_ = sorted(folder.glob("*.safetensors"))
    for recipe in (folder, folder / "model.safetensors.index.json", first):
        assert rewrite(recipe, "again.safetensors")[0].warnings == told
    (folder / "model.safetensors.index.json.recipe.json").unlink()
    assert "a shard alone does not say" in rewrite(first, "again.safetensors")[0].warnings[0]


def test_the_worst_of_a_report_are_the_five_tensors_that_rounding_took_most_of(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    start = {f"w{place}": rng.standard_normal(400).astype(np.float32) for place in range(8)}
    end = {name: one + rng.standard_normal(400).astype(np.float32) / 10 ** int(name[1:]) for name, one in start.items()}
    vector = TaskVector(from_state(start), from_state(end))
    report = apply(vector, tmp_path / "out.safetensors", rules=EditRules(dtype="BF16"))
    made = state(TaskVector(open_checkpoint(report.path)))

    def length(one: dict[str, np.ndarray], other: dict[str, np.ndarray], name: str) -> float:
        return float(np.linalg.norm(one[name].astype(np.float64) - other[name]))

    shares = {name: length(made, end, name) / length(end, start, name) for name in start}
    assert [*report.worst] == ["w7", "w6", "w5", "w4", "w3"]
    assert report.worst == pytest.approx({name: shares[name] for name in report.worst}, rel=1e-4)
    whole = [np.linalg.norm([length(*pair, name) for name in start]) for pair in ((made, end), (end, start))]
    assert report.lost == pytest.approx(whole[0] / whole[1], rel=1e-4)
    assert report.edit_norm == pytest.approx(whole[1], rel=1e-4)


def test_a_conversion_that_edits_nothing_says_how_far_rounding_moved_the_weights(tmp_path: Path) -> None:
    """There is no edit that a share could be lost of: "lost 0 %" alone would say that nothing was."""
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(5).standard_normal(1000).astype(np.float32)
    rounded = torch.from_numpy(values).bfloat16().double().numpy()
    start = TaskVector(from_state({"w": values}))
    report = apply(start, tmp_path / "out.safetensors", rules=EditRules(dtype="BF16"))
    told = "no value was edited, and rounding to the output's type moved them by norm "
    assert report.warnings == (f"{told}{np.linalg.norm(rounded - values):.3g}",)
    assert apply(start, tmp_path / "same.safetensors").warnings == ()
