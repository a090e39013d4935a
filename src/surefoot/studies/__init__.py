"""The studies that come with Surefoot, and how a study is found by name or by file."""

from surefoot.studies._find import STUDIES as STUDIES
from surefoot.studies._find import load_study as load_study

__all__ = ["STUDIES", "load_study"]
