"""Learners for tables with groups: linear, trees, robust, fair, and trees that are robust themselves."""

from surefoot.models.tabular._configurations import GRIDS as GRIDS
from surefoot.models.tabular._configurations import Configuration as Configuration
from surefoot.models.tabular._configurations import Value as Value
from surefoot.models.tabular._configurations import configuration as configuration
from surefoot.models.tabular._configurations import full_grid as full_grid
from surefoot.models.tabular._configurations import random_configurations as random_configurations
from surefoot.models.tabular._configurations import size_of_grid as size_of_grid
from surefoot.models.tabular._learners import LEARNERS as LEARNERS
from surefoot.models.tabular._learners import NETWORKS as NETWORKS
from surefoot.models.tabular._learners import Data as Data
from surefoot.models.tabular._learners import Fitted as Fitted
from surefoot.models.tabular._learners import Learner as Learner
from surefoot.models.tabular._learners import fit_many as fit_many

__all__ = [
    "GRIDS",
    "LEARNERS",
    "NETWORKS",
    "Configuration",
    "Data",
    "Fitted",
    "Learner",
    "Value",
    "configuration",
    "fit_many",
    "full_grid",
    "random_configurations",
    "size_of_grid",
]
