"""Tasks: what a model is measured on. Each gives measurements and, where there are examples, a score for each."""

from surefoot.tasks._compare import compare_examples as compare_examples
from surefoot.tasks._examples import write_examples as write_examples
from surefoot.tasks._perplexity import Perplexity as Perplexity
from surefoot.tasks._perplexity import TextLosses as TextLosses
from surefoot.tasks._perplexity import language_measurements as language_measurements
from surefoot.tasks._perplexity import perplexity as perplexity
from surefoot.tasks._perplexity import text_losses as text_losses
from surefoot.tasks._table_audit import audit_predictions as audit_predictions
from surefoot.tasks._table_compare import BEST_ON_TEST as BEST_ON_TEST
from surefoot.tasks._table_compare import BY_ACCURACY as BY_ACCURACY
from surefoot.tasks._table_compare import BY_CVAR as BY_CVAR
from surefoot.tasks._table_compare import BY_WORST_GROUP as BY_WORST_GROUP
from surefoot.tasks._table_compare import PAIRS as PAIRS
from surefoot.tasks._table_compare import TRADE_OFFS as TRADE_OFFS
from surefoot.tasks._table_compare import TableComparison as TableComparison
from surefoot.tasks._table_fits import TableFits as TableFits
from surefoot.tasks._table_fits import flat_metrics as flat_metrics
from surefoot.tasks._table_represent import FairTable as FairTable
from surefoot.tasks._zero_shot import Scores as Scores
from surefoot.tasks._zero_shot import ZeroShot as ZeroShot
from surefoot.tasks._zero_shot import check_templates as check_templates
from surefoot.tasks._zero_shot import classification_measurements as classification_measurements
from surefoot.tasks._zero_shot import classify as classify

__all__ = [
    "BEST_ON_TEST",
    "BY_ACCURACY",
    "BY_CVAR",
    "BY_WORST_GROUP",
    "PAIRS",
    "TRADE_OFFS",
    "FairTable",
    "Perplexity",
    "Scores",
    "TableComparison",
    "TableFits",
    "TextLosses",
    "ZeroShot",
    "audit_predictions",
    "check_templates",
    "classification_measurements",
    "classify",
    "compare_examples",
    "flat_metrics",
    "language_measurements",
    "perplexity",
    "text_losses",
    "write_examples",
]
