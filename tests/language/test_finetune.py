"""A language model learns a text, or unlearns it, and ends with the same bits whatever happened on the way."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_language import tiny

from surefoot.core import Measurement, Store, StoredInputs, SurefootError, write_record
from surefoot.language import (
    FinetuneLanguage,
    LanguageEdit,
    SmolLM2,
    TextSet,
    load_language,
    save_language,
    token_losses,
    windows_of,
)
from surefoot.language._training import _finetune as _finetune_language
from surefoot.training import Average, OuterStep, _loop

TEXTS = ["the cat sat on the mat", "the dog sat on the log", "the hen sat on the pen", "a cat, a dog, and a hen"]
BASE, DATA = SmolLM2(), TextSet(style="novel", part="train")  # their places in a store; what lies there is ours
STEP = FinetuneLanguage(model=BASE, data=DATA, steps=30, batch=3, length=16, learning_rate=3e-3)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A tiny random model of bytes, and four texts."""
    kept = Store(tmp_path_factory.mktemp("store"))
    for step in (BASE, DATA):
        kept.path(step).mkdir(parents=True)
        write_record(kept.path(step), step, ())
    (kept.path(DATA) / "texts.json").write_text(json.dumps(TEXTS))
    save_language(tiny(layers=3, deviation=0.02, window=2048), kept.path(BASE))
    return kept


def tuned(step: FinetuneLanguage, store: Store, directory: Path) -> tuple[Path, list[Measurement]]:
    out = directory / "part"
    out.mkdir(parents=True, exist_ok=True)
    return out, list(step.make(out, StoredInputs(store)))


def loss_of(directory: Path) -> float:
    loaded = load_language(directory)
    windows = windows_of(loaded, TEXTS, 16)
    with torch.no_grad():
        return token_losses(loaded, windows.tokens)[windows.counted].mean().item()


def bits(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def test_it_learns_its_texts_and_says_how_well(store: Store, tmp_path: Path) -> None:
    out, measurements = tuned(STEP, store, tmp_path)
    values = {measurement.metric: measurement.value for measurement in measurements}
    assert loss_of(out) < loss_of(store.path(BASE)) - 1
    assert values["loss"] == pytest.approx(loss_of(out), abs=0.3)
    assert values["parameters"] == sum(value.numel() for value in load_language(out).model.parameters())
    assert 30 * 3 * 16 * 0.5 < values["tokens"] < 30 * 3 * 16


def test_gradient_ascent_unlearns_them(store: Store, tmp_path: Path) -> None:
    out, measurements = tuned(replace(STEP, ascent=True, steps=6, learning_rate=1e-3), store, tmp_path)
    assert loss_of(out) > loss_of(store.path(BASE)) + 0.05
    assert measurements[0].value > 0
    assert json.loads((out / "history.json").read_text())["rows"][-1]["loss"] < 0


def test_only_the_named_weights_change_and_all_others_keep_their_bits(store: Store, tmp_path: Path) -> None:
    out, measurements = tuned(replace(STEP, steps=3, trained=("model.layers.2.*",)), store, tmp_path)
    before, after = load_language(store.path(BASE)).model.state_dict(), load_language(out).model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("model.layers.2.")}
    assert measurements[-1].value == sum(before[name].numel() for name in changed)


def test_a_training_that_broke_off_ends_with_the_same_bits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = tuned(STEP, store, tmp_path / "whole")
    monkeypatch.setattr(_loop, "CHECKPOINT_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_finetune_language, "_rows", failing_at(11))
        with pytest.raises(KeyboardInterrupt):
            tuned(STEP, store, tmp_path / "broken")
    assert (tmp_path / "broken" / "resume" / _loop.CHECKPOINT).is_file()
    again, measurements = tuned(STEP, store, tmp_path / "broken")
    assert bits(again) == bits(whole)
    assert measurements == tuned(STEP, store, tmp_path / "third")[1]


def failing_at(last: int) -> Callable[[FinetuneLanguage, int, int], list[int]]:
    """The function that chooses a batch, until a step at which someone presses Ctrl-C."""
    choose = _finetune_language._rows

    def rows(step: FinetuneLanguage, windows: int, number: int) -> list[int]:
        if number == last:
            raise KeyboardInterrupt
        return choose(step, windows, number)

    return rows


def test_another_seed_is_another_model(store: Store, tmp_path: Path) -> None:
    first = tuned(replace(STEP, steps=2), store, tmp_path / "first")[0]
    assert bits(first) != bits(tuned(replace(STEP, steps=2, seed=1), store, tmp_path / "second")[0])


def test_every_window_is_seen_once_before_any_is_seen_twice() -> None:
    seen = [row for number in range(14) for row in _finetune_language._rows(STEP, 7, number)]
    epochs = [seen[at : at + 7] for at in range(0, len(seen), 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_shards_share_no_window_and_leave_none_out() -> None:
    seen = [
        [int(row) for number in range(2) for row in _finetune_language._rows(replace(STEP, shard=(at, 3)), 18, number)]
        for at in range(3)
    ]
    assert sorted(row for own in seen for row in own) == list(range(18))
    assert all({row % 3 for row in own} == {at} for at, own in enumerate(seen))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (replace(STEP, shard=(2, 2)), r"has none for shard \(2, 2\): a shard \(i, n\) has 0 <= i < n"),
        (replace(STEP, trained=("model.layers.3.*",)), r"No weight is named like 'model\.layers\.3\.\*'"),
        (replace(STEP, trained=()), "No weight is named like ''"),
        (replace(STEP, steps=0), "steps is 0: it must be at least 1"),
        (replace(STEP, learning_rate=0.0), "learning_rate is 0.0: it must be above 0"),
        (replace(STEP, length=4096), "length is 4096: it must be from 1 to 2047"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    step: FinetuneLanguage, message: str, store: Store, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        tuned(step, store, tmp_path)


def test_workers_that_trained_alone_are_averaged_into_a_language_model(store: Store, tmp_path: Path) -> None:
    workers = tuple(replace(STEP, seed=seed) for seed in (1, 2))
    for worker in workers:
        place = store.path(worker)
        place.mkdir(parents=True)
        measured = list(worker.make(place, StoredInputs(store)))
        write_record(place, worker, measured)
    average, outer = Average(models=workers, only=()), OuterStep(previous=BASE, workers=workers, only=())
    for step in (average, outer):
        (tmp_path / step.key).mkdir()
        values = {one.metric: one.value for one in step.make(tmp_path / step.key, StoredInputs(store))}
        assert values["models"] == 2
    one, other, mean = (
        load_file(place / "model.safetensors") for place in (*map(store.path, workers), tmp_path / average.key)
    )
    assert all(torch.equal(mean[name], ((one[name].double() + other[name].double()) / 2).float()) for name in one)
    alone = [loss_of(store.path(worker)) for worker in workers]
    assert loss_of(tmp_path / average.key) < loss_of(store.path(BASE)) - 0.5
    assert loss_of(tmp_path / average.key) < max(alone) + 0.5
    assert loss_of(tmp_path / outer.key) < loss_of(store.path(BASE)) - 0.2


def test_a_style_is_subtracted_as_far_as_the_control_allows(store: Store, tmp_path: Path) -> None:
    tuned_on, control = replace(STEP, seed=7), TextSet(style="code", part="test")
    for step in (tuned_on, control):
        store.path(step).mkdir(parents=True)
    (store.path(control) / "texts.json").write_text(json.dumps(["0123456789", "9876543210"]))
    for step, made in ((tuned_on, tuned_on.make(store.path(tuned_on), StoredInputs(store))), (control, ())):
        write_record(store.path(step), step, list(made))
    edit = LanguageEdit(
        base=BASE, minus=(tuned_on,), objective="forget", target=(DATA,), control=(control,), grid=(0.0, 0.1), length=16
    )
    for most, coefficient in ((1e9, 0.1), (0.5, 0.0)):
        out = tmp_path / str(most) / "part"
        out.mkdir(parents=True)
        values = {one.metric: one.value for one in replace(edit, most=most).make(out, StoredInputs(store))}
        assert values["coefficient"] == coefficient
    base, one, found = (
        load_file(place / "model.safetensors")
        for place in (store.path(BASE), store.path(tuned_on), tmp_path / "1000000000.0" / "part")
    )
    for name, value in found.items():
        torch.testing.assert_close(value, base[name] - 0.1 * (one[name] - base[name]))
