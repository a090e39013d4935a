"""Audits of models made with Surefoot itself, and of the how-to page's program in an environment of its own."""

import importlib
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from surefoot.core import open_pool
from surefoot.scrutiny import run_scrutiny, verify_bundle, write_plan

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "scrutiny.md"
TABULAR = """
import numpy as np
from surefoot.scrutiny import *
from surefoot.tabular.estimators import RobustBoostingClassifier


def people(rows, share, seed):
    draw = np.random.default_rng(seed)
    second, score = draw.random(rows) < share, draw.random(rows)
    return np.column_stack([score, np.zeros(rows)]), np.where(second, score > 0.7, score > 0.5).astype(int)


ROWS, LABELS = people(4000, 0.02, 0)
MODEL = RobustBoostingClassifier(n_estimators=20, seed=0).fit(ROWS, LABELS, groups=np.zeros(4000))


def decide(evidence, seed):
    return {"yes": int(MODEL.predict(np.array([[evidence["score"], 0.0]]))[0])}


def generate(condition, seed):
    score = float(np.random.default_rng(seed).random())
    return {"score": score}, {"yes": int(score > (0.7 if condition["group"] == "second" else 0.5))}


def wrong(trial):
    return abs(trial.reply.output["yes"] - trial.truth["yes"])


def scrutiny():
    group = Variable(name="group", case="second", choices=("first", "second"), source="the application")
    claim = worst_case("wrong", wrong, bound=0.5, rate=0.05)
    return Scrutiny(
        name="loan", question="Is the model right for an applicant of the second group?",
        system=PythonSystem(call=decide, version="1"), domain=Domain(variables=(group,)), generate=generate,
        claims=(claim, subgroup_gap(claim, "group", bound=0.1)),
        plan=ScrutinyPlan(
            overall=500, near=50, at_case=100, budget=4, approach=4, confirm=40, seed=3, methods=("local",)
        ),
    )
"""
PICTURES = """
import numpy as np
from surefoot.contrastive import class_head, embed_images, load_model
from surefoot.scrutiny import *

LOADED = load_model(MODEL)
HEAD = class_head(LOADED, ("red square", "green disc"), ("{}",))


def answer(evidence, seed):
    picture = np.random.default_rng(evidence["picture"]).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    darker = (picture * evidence["light"]).astype(np.uint8)
    scores = embed_images(LOADED, darker)[0] @ HEAD.embeddings.T
    return {"square": float(scores[0]), "disc": float(scores[1])}


def generate(condition, seed):
    return {"picture": seed % 2**31, "light": condition["light"]}, {}


def scrutiny():
    light = Variable(name="light", case=1.0, low=0.0, high=1.0, scale=0.5, source="the camera")
    half = lambda one, seed: {**one, "light": one["light"] / 2}
    seen = invariant("half the light", half, value="square", tolerance=0.3)
    return Scrutiny(
        name="pictures", question="Does the score hold in half the light?",
        system=PythonSystem(call=answer, version="1", files=(MODEL + "/model.safetensors",)),
        domain=Domain(variables=(light,)), generate=generate, claims=(deterministic(), answers(), seen),
        plan=ScrutinyPlan(
            overall=2, near=2, at_case=2, budget=1, approach=1, confirm=1, repeats=1, seed=3, methods=("local",)
        ),
    )
"""


def audited(case: str, folder: Path) -> dict[str, Any]:
    """The findings of a case file, signed, run and verified."""
    path = folder / "case.py"
    path.write_text(case)
    write_plan(path, folder / "case.bundle")
    with open_pool("here") as pool:
        found = run_scrutiny(path, folder / "case.bundle", pool=pool)
    verify_bundle(folder / "case.bundle")
    return found


def test_a_model_that_was_trained_on_one_group_is_shown_to_fail_at_the_other(tmp_path: Path) -> None:
    """The rule of the second group begins at .7, not .5: a model of the first is wrong for it in a fifth of cases."""
    found = {one["name"]: one for one in audited(TABULAR, tmp_path)["claims"]}
    wrong, gap = found["wrong"], found["wrong by group"]
    samples = {one["sample"]: one for one in wrong["samples"]}
    assert wrong["verdict"].startswith("fails at the case") and gap["verdict"].startswith("fails")
    at_case = samples["at the case"]
    assert at_case["low"] <= 0.2 <= at_case["high"] and at_case["n"] == 100
    assert gap["samples"][0]["low"] <= 0.2 <= gap["samples"][0]["high"]


def test_a_contrastive_model_is_asked_as_any_other(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    contrastive = importlib.import_module("surefoot.contrastive")
    torch.manual_seed(0)
    vocabulary = contrastive.vocabulary_of(("red square", "green disc"))
    config = contrastive.ladder_config("rn-4", vocabulary_size=len(vocabulary) + 1)
    model = contrastive.build(config)
    description = contrastive.ModelDescription(
        name="rn-4", config=config, pixels=contrastive.Pixels(size=32, interpolation="bilinear"), vocabulary=vocabulary,
        parameters=contrastive.count_parameters(model), gmacs_per_sample=contrastive.count_gmacs(config), samples=0,
    )  # fmt: skip
    (tmp_path / "model").mkdir()
    contrastive.save_model(model, description, tmp_path / "model")
    found = audited(f"MODEL = {str(tmp_path / 'model')!r}\n{PICTURES}", tmp_path)
    assert found["status"] == {"answered": found["queries"]}
    assert {one["name"]: one["verdict"] for one in found["claims"]} == dict.fromkeys(
        ("deterministic", "answers", "half the light"), "no failure shown"
    )


STAND_IN = """
import numpy as np


def preprocess_wav(wave, source_sr):
    return wave


class VoiceEncoder:
    def __init__(self, device, verbose):
        pass

    def embed_utterance(self, wave):  # the pitch: where the spectrum is highest
        found = np.zeros(64)
        found[min(int(np.abs(np.fft.rfft(wave[:8000]))[:512].argmax() / 8), 63)] = 1
        return found
"""
ESPEAK = """#!{python}
import io, sys, wave
import numpy as np
rate, pitch = 22050, int(sys.argv[4])
with wave.open(sys.stdout.buffer, "wb") as out:
    out.setnchannels(1), out.setsampwidth(2), out.setframerate(rate)
    out.writeframes((8000 * np.sin(2 * np.pi * 10 * pitch * np.arange(rate) / rate)).astype(np.int16).tobytes())
"""
SPEAKERS = """
import base64, random, subprocess
from surefoot.scrutiny import *

SENTENCES = ("one sentence", "another one")
{page}

def scrutiny():
    said = Variable(name="same words", case=True, choices=(True, False), source="the recording")
    other = Variable(name="other", case="m3", choices=("m3", "m4"), source="the recording")
    pitch = Variable(name="pitch", case=0, low=0, high=30, scale=10, source="the recording")
    command = ({python!r}, {program!r}, "{{input}}", "{{output}}")
    system = CommandSystem(command=command, version="1", files=({program!r},))
    return Scrutiny(
        name="voices", question="May two speakers be taken for one?", system=system, generate=generate,
        domain=Domain(variables=(said, other, pitch)),
        claims=(worst_case("taken for one", lambda one: one.reply.output["score"], bound=0.85, rate=0.2), answers()),
        plan=ScrutinyPlan(
            overall=1, near=1, at_case=5, budget=1, approach=1, confirm=1, repeats=1, seed=1, methods=("local",)
        ),
    )
"""


def test_the_program_of_the_page_on_speakers_is_asked_by_the_case_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stand-in for the encoder that hears the pitch alone: at the case both have one, and are taken for one."""
    program, case = re.findall(r"```python not-run\n(.*?)```", PAGE.read_text(), re.DOTALL)[:2]
    (tmp_path / "bin").mkdir()
    (tmp_path / "resemblyzer.py").write_text(STAND_IN)
    (tmp_path / "voices.py").write_text(program)
    speaks = tmp_path / "bin" / "espeak-ng"
    speaks.write_text(ESPEAK.format(python=sys.executable))
    speaks.chmod(speaks.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{speaks.parent}{os.pathsep}{os.environ['PATH']}")
    made = SPEAKERS.format(page=case, python=sys.executable, program=str(tmp_path / "voices.py"))
    found = audited(made, tmp_path)
    claims = {one["name"]: one for one in found["claims"]}
    at_case = {one["sample"]: one for one in claims["taken for one"]["samples"]}["at the case"]
    assert (at_case["failed"], at_case["n"]) == (5, 5) and claims["taken for one"]["verdict"].startswith("fails at")
    assert claims["answers"]["verdict"] == "no failure shown" and found["status"] == {"answered": found["queries"]}
    first = json.loads((tmp_path / "case.bundle" / "queries.jsonl").read_text().splitlines()[1])["record"]
    assert {*first["evidence"]} == {"first", "second"}
