"""OpenCLIP models from their configs, never from a download."""

from copy import deepcopy
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from surefoot.core import SurefootError

if TYPE_CHECKING:
    from open_clip import CLIP, CustomTextCLIP

Config = dict[str, Any]


def build(config: Config) -> "CLIP | CustomTextCLIP":
    """A new OpenCLIP model with random weights from torch's generator. Raises for a config that fits no model."""
    from open_clip.model import CLIP, CustomTextCLIP

    config = deepcopy(config)
    make: Any = CustomTextCLIP if config.pop("custom_text", False) else CLIP
    if "multimodal_cfg" in config:
        raise SurefootError("Models with a caption decoder (CoCa) are not evaluated here: choose a CLIP model.")
    config["vision_cfg"]["timm_model_pretrained"] = False
    return make(**config)


def openclip_config(name: str) -> Config:
    """The config of one of OpenCLIP's models. Raises for an unknown name, or one whose tokenizer is a download."""
    import open_clip

    config = open_clip.get_model_config(name) if not name.startswith(("hf-hub:", "local-dir:")) else None
    if config is None:
        near = get_close_matches(name, open_clip.list_models(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else "open_clip.list_models() names them all."
        raise SurefootError(f"OpenCLIP has no model named '{name}'. {hint}")
    hosted = [key for key in ("hf_model_name", "hf_tokenizer_name") if config["text_cfg"].get(key)]
    if hosted:
        raise SurefootError(
            f"The model '{name}' needs a tokenizer or text tower from a hub "
            f"({config['text_cfg'][hosted[0]]}), and nothing is downloaded here."
        )
    return config
