"""Tables with groups: data, learners, sweeps, and audits of predictions.

Begin with `FileTable` (your own table, `.pinned()`) or `PublicTable`, `Design` (its splits), `TableFits` (a sweep of
learners) and `audit_predictions`; `surefoot.tabular.estimators` holds scikit-learn's interface.
"""

from surefoot.tabular._audit import Audit as Audit
from surefoot.tabular._audit import audit_predictions as audit_predictions
from surefoot.tabular._learners._configurations import DEFAULTS as DEFAULTS
from surefoot.tabular._learners._configurations import GRIDS as GRIDS
from surefoot.tabular._learners._configurations import Configuration as Configuration
from surefoot.tabular._learners._configurations import Value as Value
from surefoot.tabular._learners._configurations import configuration as configuration
from surefoot.tabular._learners._configurations import full_grid as full_grid
from surefoot.tabular._learners._fit import LEARNERS as LEARNERS
from surefoot.tabular._learners._fit import Fitted as Fitted
from surefoot.tabular._learners._fit import Learner as Learner
from surefoot.tabular._learners._fit import fit_many as fit_many
from surefoot.tabular._sweep._compare import BEST_ON_TEST as BEST_ON_TEST
from surefoot.tabular._sweep._compare import BY_ACCURACY as BY_ACCURACY
from surefoot.tabular._sweep._compare import BY_CVAR as BY_CVAR
from surefoot.tabular._sweep._compare import BY_WORST_GROUP as BY_WORST_GROUP
from surefoot.tabular._sweep._compare import MAJORITY as MAJORITY
from surefoot.tabular._sweep._compare import PAIRS as PAIRS
from surefoot.tabular._sweep._compare import TableComparison as TableComparison
from surefoot.tabular._sweep._fits import TableFits as TableFits
from surefoot.tabular._sweep._fits import table_fits as table_fits
from surefoot.tabular._sweep._names import LEARNED as LEARNED
from surefoot.tabular._sweep._names import LOST_BY_CVAR as LOST_BY_CVAR
from surefoot.tabular._sweep._names import NEAR_BEST as NEAR_BEST
from surefoot.tabular._sweep._names import difference_in as difference_in
from surefoot.tabular._sweep._names import family_party as family_party
from surefoot.tabular._sweep._names import pair_of as pair_of
from surefoot.tabular._sweep._represent import FairTable as FairTable
from surefoot.tabular._tables._arrays import TableArrays as TableArrays
from surefoot.tabular._tables._arrays import open_table as open_table
from surefoot.tabular._tables._design import PARTS as PARTS
from surefoot.tabular._tables._design import Design as Design
from surefoot.tabular._tables._design import GroupedRows as GroupedRows
from surefoot.tabular._tables._design import OpenedDesign as OpenedDesign
from surefoot.tabular._tables._design import open_design as open_design
from surefoot.tabular._tables._groups import Division as Division
from surefoot.tabular._tables._predictions import PredictionColumns as PredictionColumns
from surefoot.tabular._tables._predictions import Predictions as Predictions
from surefoot.tabular._tables._predictions import read_predictions as read_predictions
from surefoot.tabular._tables._raw import RawTable as RawTable
from surefoot.tabular._tables._recipes import RECIPES as RECIPES
from surefoot.tabular._tables._table import FileTable as FileTable
from surefoot.tabular._tables._table import PublicTable as PublicTable
from surefoot.tabular._tables._table import Table as Table
