"""LoRA adapters as PEFT saves them: merged as PEFT merges them, or refused by the name of what is more than B A."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from surefoot.core import SurefootError
from surefoot.weights import TaskVector, from_state, open_checkpoint, state

FILE = Path(__file__).with_name("peft_outputs.safetensors")
MADE = load_file(FILE)
with safe_open(FILE, "numpy") as opened:
    CONFIGS: dict[str, str] = json.loads(opened.metadata()["configs"])
BASE = from_state({name.partition("/")[2]: one for name, one in MADE.items() if name.startswith("base/")}, label="base")
REFUSED = {
    "pissa": "init_lora_weights 'pissa' changes the base weights",
    "pissa_niter_4": "init_lora_weights 'pissa_niter_4' changes",
    "olora": "init_lora_weights 'olora' changes",
    "dora": "use_dora 'True' is more than",
    "bias": "bias 'lora_only' is more than",
    "saved": r"modules_to_save \"\['head'\]\" is more than",
    "own_bias": "lora_bias 'True' is more than",
}


def part(prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): one for name, one in MADE.items() if name.startswith(prefix)}


def adapter(folder: Path, kind: str, **changed: object) -> Path:
    save_file(part(f"{kind}/adapter/"), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({**json.loads(CONFIGS[kind]), **changed}))
    return folder


@pytest.mark.parametrize("kind", [kind for kind in CONFIGS if kind not in REFUSED])
def test_an_adapter_gives_what_peft_makes_of_it(kind: str, tmp_path: Path) -> None:
    made = state(TaskVector(BASE, open_checkpoint(adapter(tmp_path, kind))))
    expected = part(f"{kind}/merged/")
    assert made.keys() == expected.keys()
    for name, value in expected.items():
        assert np.abs(made[name] - value).max() < 1e-6, name
    assert sum((made[name] != BASE_VALUES[name]).any() for name in made) in (1, 2)


BASE_VALUES = part("base/")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_more_than_a_product_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(SurefootError, match=REFUSED[kind]):
        open_checkpoint(adapter(tmp_path, kind))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"init_lora_weights": "loftq"}, "init_lora_weights 'loftq'"),
        ({"init_lora_weights": "corda"}, "init_lora_weights 'corda'"),
        ({"init_lora_weights": "lora_ga"}, "init_lora_weights 'lora_ga'"),
        ({"peft_type": "LOHA"}, "peft_type LOHA"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"trainable_token_indices": [3]}, "trainable_token_indices"),
        ({"target_parameters": ["experts.w"]}, "target_parameters"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens"),
        ({"use_qalora": True}, "use_qalora"),
        ({"a_setting_of_next_year": 1}, "a_setting_of_next_year '1' is more than"),
    ],
)
def test_a_setting_that_is_not_known_is_not_passed_over(
    changed: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(SurefootError, match=message):
        open_checkpoint(adapter(tmp_path, "plain", **changed))
