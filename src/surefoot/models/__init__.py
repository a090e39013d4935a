"""Models: contrastive image-text models in OpenCLIP's form, our own small ladder and any of the user's."""

from surefoot.models._artifact import LoadedModel as LoadedModel
from surefoot.models._artifact import ModelDescription as ModelDescription
from surefoot.models._artifact import load_model as load_model
from surefoot.models._artifact import read_description as read_description
from surefoot.models._artifact import save_model as save_model
from surefoot.models._build import build as build
from surefoot.models._build import openclip_config as openclip_config
from surefoot.models._cost import count_gmacs as count_gmacs
from surefoot.models._cost import count_parameters as count_parameters
from surefoot.models._embed import embed_classes as embed_classes
from surefoot.models._embed import embed_images as embed_images
from surefoot.models._embed import embed_pictures as embed_pictures
from surefoot.models._embed import embed_texts as embed_texts
from surefoot.models._ladder import ladder as ladder
from surefoot.models._ladder import ladder_config as ladder_config
from surefoot.models._language import LanguageModel as LanguageModel
from surefoot.models._language import SmolLM2 as SmolLM2
from surefoot.models._language import Windows as Windows
from surefoot.models._language import continued as continued
from surefoot.models._language import load_language as load_language
from surefoot.models._language import save_language as save_language
from surefoot.models._language import token_losses as token_losses
from surefoot.models._language import windows_of as windows_of
from surefoot.models._llama import LlamaConfig as LlamaConfig
from surefoot.models._llama import build_llama as build_llama
from surefoot.models._llama import llama_logits as llama_logits
from surefoot.models._openclip import OpenClipModel as OpenClipModel
from surefoot.models._openclip import load_openclip as load_openclip
from surefoot.models._openclip import openclip_model as openclip_model
from surefoot.models._pixels import Pixels as Pixels
from surefoot.models._pixels import normalized as normalized
from surefoot.models._pixels import resized as resized
from surefoot.models._tokenizer import RestrictedTokenizer as RestrictedTokenizer
from surefoot.models._tokenizer import vocabulary_of as vocabulary_of

__all__ = [
    "LanguageModel",
    "LlamaConfig",
    "LoadedModel",
    "ModelDescription",
    "OpenClipModel",
    "Pixels",
    "RestrictedTokenizer",
    "SmolLM2",
    "Windows",
    "build",
    "build_llama",
    "continued",
    "count_gmacs",
    "count_parameters",
    "embed_classes",
    "embed_images",
    "embed_pictures",
    "embed_texts",
    "ladder",
    "ladder_config",
    "llama_logits",
    "load_language",
    "load_model",
    "load_openclip",
    "normalized",
    "openclip_config",
    "openclip_model",
    "read_description",
    "resized",
    "save_language",
    "save_model",
    "token_losses",
    "vocabulary_of",
    "windows_of",
]
