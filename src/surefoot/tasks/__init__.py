"""Tasks: what a model is measured on. Each gives measurements and, where there are examples, a score for each."""

from surefoot.tasks._compare import compare_examples as compare_examples
from surefoot.tasks._examples import write_examples as write_examples
from surefoot.tasks._zero_shot import Scores as Scores
from surefoot.tasks._zero_shot import ZeroShot as ZeroShot
from surefoot.tasks._zero_shot import check_templates as check_templates
from surefoot.tasks._zero_shot import classification_measurements as classification_measurements
from surefoot.tasks._zero_shot import logit_scale as logit_scale
from surefoot.tasks._table_fits import TableFits as TableFits

__all__ = [
    "Scores",
    "TableFits",
    "ZeroShot",
    "check_templates",
    "classification_measurements",
    "compare_examples",
    "logit_scale",
    "write_examples",
]
