"""Makes `peft_outputs.safetensors`: adapters that PEFT 0.21.2 saved, and what PEFT itself makes of base and adapter.

Run it with the Python of an environment that has peft, transformers and safetensors.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers.pytorch_utils import Conv1D

TARGETS = ["first", "second"]
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"lora_alpha": 3},
    "rank_stabilised": {"lora_alpha": 3, "use_rslora": True},
    "patterns": {"rank_pattern": {"second": 3}, "alpha_pattern": {"second": 7.5}, "use_rslora": True},
    "gaussian": {"init_lora_weights": "gaussian"},
    "orthogonal": {"init_lora_weights": "orthogonal"},
    "transposed": {"target_modules": ["third"], "fan_in_fan_out": True},
    "one_layer": {"exclude_modules": ["second"]},
    # Not base + s B A, or more than it.
    "pissa": {"init_lora_weights": "pissa"},
    "pissa_niter_4": {"init_lora_weights": "pissa_niter_4"},
    "olora": {"init_lora_weights": "olora"},
    "dora": {"use_dora": True},
    "bias": {"bias": "lora_only"},
    "saved": {"modules_to_save": ["head"]},
    "own_bias": {"lora_bias": True},
    "converted": {"init_lora_weights": "pissa"},  # saved as a difference of ordinary factors
}


class Net(torch.nn.Module):
    """Two linear layers, one that is stored transposed, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(7, 6), torch.nn.Linear(6, 5)
        self.third, self.head = Conv1D(4, 5), torch.nn.Linear(4, 3)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The output of all four in a row."""
        return self.head(self.third(self.second(self.first(values))))


def main() -> None:
    """Save every kind of adapter, load it again, merge it with PEFT."""
    torch.manual_seed(0)
    base = Net()
    start = {name: value.clone() for name, value in base.state_dict().items()}
    found = {f"base/{name}": value for name, value in start.items()}
    configs = {}

    def fresh() -> Net:
        net = Net()
        net.load_state_dict(start)
        return net

    with tempfile.TemporaryDirectory() as temporary:
        for name, options in KINDS.items():
            folder, first = Path(temporary) / name, Path(temporary) / f"{name}_start"
            tuned = get_peft_model(fresh(), LoraConfig(**{"r": 2, "target_modules": TARGETS, **options}))
            tuned.peft_config["default"].init_lora_weights = True
            tuned.save_pretrained(first)  # the factors before training
            tuned.peft_config["default"].init_lora_weights = options.get("init_lora_weights", True)
            with torch.no_grad():
                for value in tuned.parameters():
                    if value.requires_grad:
                        value.add_(0.3 * torch.randn(value.shape))
            if name == "converted":
                tuned.save_pretrained(folder, path_initial_model_for_weight_conversion=str(first))
            else:
                tuned.save_pretrained(folder)
            merged = PeftModel.from_pretrained(fresh(), folder).merge_and_unload()
            found |= {f"{name}/merged/{key}": value.contiguous() for key, value in merged.state_dict().items()}
            adapter = load_file(folder / "adapter_model.safetensors")
            found |= {f"{name}/adapter/{key}": value for key, value in adapter.items()}
            configs[name] = (folder / "adapter_config.json").read_text()
    save_file(found, Path(__file__).with_name("peft_outputs.safetensors"), metadata={"configs": json.dumps(configs)})


if __name__ == "__main__":
    main()
