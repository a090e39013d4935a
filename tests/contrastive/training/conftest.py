"""A world of coloured shapes: a model that knows a little of it, and two tasks to tune it on."""

import importlib.util
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from surefoot.contrastive import Drawings, DrawnTask, Pretrain
from surefoot.core import Measurement, Step, Store, SurefootError, open_pool, run, write_record

Made = Callable[[Step], tuple[Path, list[Measurement]]]
WARM = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("food-drink",), least=1, part="all")
COLD = DrawnTask(drawings=(Drawings(style="twemoji"),), groups=("objects",), least=1, part="all")
COLOURS = {WARM: ("red", "green"), COLD: ("blue", "black")}  # what lies at the places of these Steps is ours


def load_shapes() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_shapes", Path(__file__).with_name("train_shapes.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_task(pairs: Path, place: Path, colours: Iterable[str]) -> None:
    """The pictures of some colours, as a classification set."""
    captions = [texts[0] for texts in json.loads((pairs / "captions.json").read_text())]
    rows = [index for index, text in enumerate(captions) if text.split()[0] in colours]
    classes = sorted({captions[index] for index in rows})
    place.mkdir(parents=True)
    np.save(place / "images.npy", np.load(pairs / "images.npy")[rows])
    np.save(place / "labels.npy", np.array([classes.index(captions[index]) for index in rows]))
    (place / "classes.json").write_text(json.dumps(classes))
    (place / "ids.json").write_text(json.dumps([str(index) for index in rows]))


@pytest.fixture(scope="session")
def shapes_data() -> Step:
    """The image-text pairs of the world of shapes."""
    return load_shapes().DATA


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Makes a Step and those below it, each once; gives its directory and measurements."""
    shapes = load_shapes()
    store = Store(tmp_path_factory.mktemp("shapes") / "store")
    shapes.write_shapes(store.path(shapes.DATA))
    for task, colours in COLOURS.items():
        write_task(store.path(shapes.DATA), store.path(task), colours)
        write_record(store.path(task), task, ())

    def make(step: Step) -> tuple[Path, list[Measurement]]:
        with open_pool("here") as pool:
            failed = [event for event in run([step], store, pool, retry=True) if event.kind == "failed"]
        if failed:
            raise SurefootError(failed[0].error)
        return store.path(step), list(store.measurements(step))

    return make


@pytest.fixture(scope="session")
def start() -> Pretrain:
    """A model that has seen the world a little."""
    step: Pretrain = load_shapes().STEP
    return replace(step, samples=960)
