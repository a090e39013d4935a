"""Data: sources of public registries and of the user, pictures, and the splits they are trained and tested on."""

from surefoot.data._archive import read_members as read_members
from surefoot.data._classification import ClassificationSet as ClassificationSet
from surefoot.data._drawings import Drawings as Drawings
from surefoot.data._pairs import TrainingPairs as TrainingPairs
from surefoot.data._source import Source as Source
from surefoot.data._source import cache_directory as cache_directory
from surefoot.data._source import fetch as fetch
from surefoot.data._source import is_cached as is_cached
from surefoot.data._styles import EMOJIBASE as EMOJIBASE
from surefoot.data._styles import STYLES as STYLES
from surefoot.data._styles import Style as Style

__all__ = [
    "EMOJIBASE",
    "STYLES",
    "ClassificationSet",
    "Drawings",
    "Source",
    "Style",
    "TrainingPairs",
    "cache_directory",
    "fetch",
    "is_cached",
    "read_members",
]
