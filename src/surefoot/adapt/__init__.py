"""Training: from scratch, and onwards from a model."""

from surefoot.adapt._augment import Augmentation as Augmentation
from surefoot.adapt._augment import augmented as augmented
from surefoot.adapt._deterministic import generator_for as generator_for
from surefoot.adapt._deterministic import reproducible as reproducible
from surefoot.adapt._deterministic import seed_for as seed_for
from surefoot.adapt._directions import DirectionAngles as DirectionAngles
from surefoot.adapt._directions import RandomDirection as RandomDirection
from surefoot.adapt._finetune import Finetune as Finetune
from surefoot.adapt._finetune_language import FinetuneLanguage as FinetuneLanguage
from surefoot.adapt._language_edit import LanguageEdit as LanguageEdit
from surefoot.adapt._local import Average as Average
from surefoot.adapt._local import OuterStep as OuterStep
from surefoot.adapt._loop import Schedule as Schedule
from surefoot.adapt._loop import adamw as adamw
from surefoot.adapt._loop import train as train
from surefoot.adapt._pairs import Batches as Batches
from surefoot.adapt._pairs import Pairs as Pairs
from surefoot.adapt._pairs import read_captions as read_captions
from surefoot.adapt._pairs import read_pairs as read_pairs
from surefoot.adapt._pretrain import Precision as Precision
from surefoot.adapt._pretrain import Pretrain as Pretrain
from surefoot.adapt._weight_edit import WeightEdit as WeightEdit

__all__ = [
    "Augmentation",
    "Average",
    "Batches",
    "DirectionAngles",
    "Finetune",
    "FinetuneLanguage",
    "LanguageEdit",
    "OuterStep",
    "Pairs",
    "Precision",
    "Pretrain",
    "RandomDirection",
    "Schedule",
    "WeightEdit",
    "adamw",
    "augmented",
    "generator_for",
    "read_captions",
    "read_pairs",
    "reproducible",
    "seed_for",
    "train",
]
