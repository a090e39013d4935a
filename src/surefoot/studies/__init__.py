"""The studies that come with Surefoot, and how a study is found by name or by file.

Begin with `load_study` and `list_studies`.
"""

from surefoot.studies._find import STUDIES as STUDIES
from surefoot.studies._find import list_studies as list_studies
from surefoot.studies._find import load_study as load_study
from surefoot.studies._find import study_options as study_options
