"""An OpenCLIP model is patched as the how-to says, and loads again."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from surefoot.cli import app
from surefoot.weights import (
    CoefficientSearch,
    EditScore,
    TaskVector,
    apply,
    apply_to,
    loaded,
    open_checkpoint,
    patching,
    search,
    verify,
)


def tower(seed: int) -> torch.nn.Module:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(seed)
    vision = CLIPVisionCfg(layers=2, width=32, head_width=16, image_size=32, patch_size=8)
    text = CLIPTextCfg(context_length=8, vocab_size=64, width=32, heads=2, layers=2)
    return CLIP(16, vision, text)


def test_an_open_clip_model_is_patched_searched_written_and_loaded(tmp_path: Path) -> None:
    pytest.importorskip("open_clip")
    base, tuned = tower(0), tower(0)
    with torch.no_grad():
        for parameter in tuned.visual.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    for name, one in (("base", base), ("tuned", tuned)):
        save_file(
            {key: value.contiguous() for key, value in one.state_dict().items()}, tmp_path / f"{name}.safetensors"
        )
    first, second = (loaded(open_checkpoint(tmp_path / f"{name}.safetensors")) for name in ("base", "tuned"))
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        goal = (base.visual(image) + tuned.visual(image)) / 2
    model = tower(1)

    def build(vector: TaskVector) -> torch.nn.Module:
        apply_to(vector, model)
        return model

    def validate(model: torch.nn.Module) -> dict[str, EditScore]:
        with torch.no_grad():
            gap = float((model.visual(image) - goal).norm())
        return {"new": EditScore(value=1 / (1 + gap), n=100), "old": EditScore(value=0.5, n=100)}

    found = search(TaskVector(first, second), np.linspace(0, 1, 11), validate, patching(["new"], ["old"]), build=build)
    assert found.chosen is not None and 0.3 <= found.chosen.coefficients[0] <= 0.7
    alpha = found.chosen.coefficients[0]
    disk = [open_checkpoint(tmp_path / f"{name}.safetensors") for name in ("base", "tuned")]
    path = apply(alpha * TaskVector(disk[0], disk[1]), tmp_path / "patched.safetensors").path
    build(alpha * TaskVector(first, second))
    written = open_checkpoint(path)
    again = tower(2)
    apply_to(TaskVector(written), again)
    states = model.state_dict(), again.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(torch.equal(states[1][name], value) for name, value in base.state_dict().items() if "visual" not in name)
    assert verify(path).holds


def test_help_is_printed_without_the_numerics() -> None:
    code = (
        "import sys\nfrom surefoot.cli import main\nsys.argv = ['surefoot', 'weights', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([n for n in ('torch', 'numpy', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "negate" in done.stdout and done.stdout.strip().endswith("[]")


GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "patch-a-model.md"
SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def picture_folders(place: Path) -> None:
    rng = np.random.default_rng(0)
    for task, first in (("signs", 0), ("imagenet", 128)):
        for split in ("train", "validation", "test"):
            for kind in (0, 1):
                folder = place / "data" / task / split / f"class_{kind}"
                folder.mkdir(parents=True)
                for number in range(8):
                    pixels = rng.integers(0, 60, (32, 32, 3), np.uint8) + np.uint8(first + 60 * kind)
                    Image.fromarray(pixels).save(folder / f"{number}.png")


def test_every_block_of_the_guide_to_patching_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_clip = pytest.importorskip("open_clip")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small-clip.json").write_text(json.dumps(SMALL))
    open_clip.add_model_config(tmp_path / "small-clip.json")
    picture_folders(tmp_path)
    save_file(open_clip.create_model("small-clip").state_dict(), tmp_path / "start.safetensors")
    blocks = re.findall(r"```(python not-run|bash)\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    known: dict[str, object] = {}
    for language, block in blocks:
        code = block.replace("ViT-B-32", "small-clip").replace("path/to/open_clip_model", "start")
        if language != "bash":
            exec(compile(code.replace("lr=1e-5", "lr=1e-3"), str(GUIDE), "exec"), known)
            continue
        for words in map(shlex.split, code.splitlines()):
            if words[0] == "surefoot":
                assert app(words[1:], result_action="return_value") in (None, 0), words
    found = known["found"]
    assert isinstance(found, CoefficientSearch) and found.chosen is not None and len(found.table) == 21
    assert "every bit came out again" in capsys.readouterr().out
