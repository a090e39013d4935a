"""What a model costs: parameters, and multiply-accumulates a sample, counted on a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.contrastive._models._build import build
from surefoot.core import Step, walk

if TYPE_CHECKING:
    import torch

Config = dict[str, Any]


def count_parameters(model: "torch.nn.Module") -> int:
    """Number of trained numbers in a model."""
    return sum(parameter.numel() for parameter in model.parameters())


def picture_cost(model: Step) -> float:
    """How long a picture takes in a model beside the small ones of the ladder: `picture_cost` of a Step below it."""
    return max((getattr(one, "picture_cost", 1.0) for one in walk([model])), default=1.0)


def count_gmacs(config: Config, tokenizer: Path | None = None) -> float:
    """Billions of multiply-accumulates of one forward pass over one image and one text, without memory or weights.

    Counted by torch's FLOP counter on tensors without storage; one multiply-accumulate is two of its FLOPs. Matrix
    products, convolutions and attention count; normalisation, activations and table look-ups do not, as in the
    tables of OpenCLIP (Cherti et al. 2212.07143, table 24).
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("cpu" if config["text_cfg"].get("hf_model_name") else "meta"):  # those read their tensors
        model = build(config, tokenizer).eval()
        size = config["vision_cfg"].get("image_size", 224)
        height, width = (size, size) if isinstance(size, int) else size
        image = torch.empty(1, 3, height, width)
        text = torch.zeros(1, config["text_cfg"].get("context_length", 77), dtype=torch.long)
    with FlopCounterMode(display=False) as counter, torch.enable_grad():
        model.encode_image(image)
        model.encode_text(text)
    return counter.get_total_flops() / 2e9
