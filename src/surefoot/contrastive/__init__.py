"""Image-text models: their data, training, edits and evaluation.

Begin with `OpenClipModel` and `ImageFolder` (your own model and pictures, each `.pinned()`), `ZeroShot` (measure),
`Finetune` and `WeightEdit` (change). `Drawings` and `Pretrain` make small models from eleven drawing styles.
"""

from surefoot.contrastive._drawn._classification import ClassificationSet as ClassificationSet
from surefoot.contrastive._drawn._concepts import LOCALES as LOCALES
from surefoot.contrastive._drawn._drawings import Drawings as Drawings
from surefoot.contrastive._drawn._drawn_tasks import GROUPS as GROUPS
from surefoot.contrastive._drawn._drawn_tasks import DrawnTask as DrawnTask
from surefoot.contrastive._drawn._styles import EMOJIBASE as EMOJIBASE
from surefoot.contrastive._drawn._styles import STYLES as STYLES
from surefoot.contrastive._drawn._styles import Style as Style
from surefoot.contrastive._drawn._training_pairs import TrainingPairs as TrainingPairs
from surefoot.contrastive._drawn._typographic import Typographic as Typographic
from surefoot.contrastive._models._artifact import InferencePrecision as InferencePrecision
from surefoot.contrastive._models._artifact import LoadedModel as LoadedModel
from surefoot.contrastive._models._artifact import ModelDescription as ModelDescription
from surefoot.contrastive._models._artifact import load_model as load_model
from surefoot.contrastive._models._artifact import placed as placed
from surefoot.contrastive._models._artifact import read_description as read_description
from surefoot.contrastive._models._artifact import save_model as save_model
from surefoot.contrastive._models._build import build as build
from surefoot.contrastive._models._build import openclip_config as openclip_config
from surefoot.contrastive._models._cost import count_gmacs as count_gmacs
from surefoot.contrastive._models._cost import count_parameters as count_parameters
from surefoot.contrastive._models._embed import embed_classes as embed_classes
from surefoot.contrastive._models._embed import embed_images as embed_images
from surefoot.contrastive._models._embed import embed_texts as embed_texts
from surefoot.contrastive._models._ladder import ladder as ladder
from surefoot.contrastive._models._ladder import ladder_config as ladder_config
from surefoot.contrastive._models._openclip import OpenClipModel as OpenClipModel
from surefoot.contrastive._models._openclip import load_openclip as load_openclip
from surefoot.contrastive._models._pixels import Pixels as Pixels
from surefoot.contrastive._models._pixels import normalized as normalized
from surefoot.contrastive._models._pixels import resized as resized
from surefoot.contrastive._models._preparation import PixelOptions as PixelOptions
from surefoot.contrastive._models._tokenizer import RestrictedTokenizer as RestrictedTokenizer
from surefoot.contrastive._models._tokenizer import vocabulary_of as vocabulary_of
from surefoot.contrastive._pictures._directory import load_images as load_images
from surefoot.contrastive._pictures._directory import read_captions as read_captions
from surefoot.contrastive._pictures._folder import ImageFolder as ImageFolder
from surefoot.contrastive._pictures._pairs import CaptionedPictures as CaptionedPictures
from surefoot.contrastive._sheet import folder_rows as folder_rows
from surefoot.contrastive._sheet import png_of as png_of
from surefoot.contrastive._sheet import png_uri as png_uri
from surefoot.contrastive._sheet import style_rows as style_rows
from surefoot.contrastive._sheet import wrong_sheet as wrong_sheet
from surefoot.contrastive._tasks._files import NamedPictures as NamedPictures
from surefoot.contrastive._tasks._files import PromptedModel as PromptedModel
from surefoot.contrastive._tasks._files import name_pictures as name_pictures
from surefoot.contrastive._tasks._zero_shot import Classified as Classified
from surefoot.contrastive._tasks._zero_shot import ZeroShot as ZeroShot
from surefoot.contrastive._tasks._zero_shot import check_templates as check_templates
from surefoot.contrastive._tasks._zero_shot import classification_measurements as classification_measurements
from surefoot.contrastive._tasks._zero_shot import classify as classify
from surefoot.contrastive._training._augment import Augmentation as Augmentation
from surefoot.contrastive._training._augment import augmented as augmented
from surefoot.contrastive._training._batches import Batches as Batches
from surefoot.contrastive._training._batches import TokenizedPairs as TokenizedPairs
from surefoot.contrastive._training._batches import read_pairs as read_pairs
from surefoot.contrastive._training._directions import DirectionAngles as DirectionAngles
from surefoot.contrastive._training._directions import RandomDirection as RandomDirection
from surefoot.contrastive._training._finetune import Finetune as Finetune
from surefoot.contrastive._training._pretrain import Precision as Precision
from surefoot.contrastive._training._pretrain import Pretrain as Pretrain
from surefoot.contrastive._training._weight_edit import WeightEdit as WeightEdit
