"""Checkpoints on disk and their arithmetic, streamed. Imports without torch.

`open_checkpoint` reads headers only; `TaskVector`, `mean` and `analogy` make lazy linear expressions; `apply`
and `apply_grid` stream them to disk, `merge` does so with any method, and `verify` replays what a file says of itself.
"""

from surefoot.weights._arithmetic._engine import seconds as seconds
from surefoot.weights._arithmetic._engine import thread_count as thread_count
from surefoot.weights._arithmetic._expression import TaskVector as TaskVector
from surefoot.weights._arithmetic._expression import analogy as analogy
from surefoot.weights._arithmetic._expression import mean as mean
from surefoot.weights._arithmetic._expression import plan_edit as plan_edit
from surefoot.weights._arithmetic._kernel import engine as engine
from surefoot.weights._arithmetic._memory import Statistics as Statistics
from surefoot.weights._arithmetic._memory import Values as Values
from surefoot.weights._arithmetic._memory import apply_to as apply_to
from surefoot.weights._arithmetic._memory import loaded as loaded
from surefoot.weights._arithmetic._memory import state as state
from surefoot.weights._arithmetic._memory import statistics as statistics
from surefoot.weights._arithmetic._memory import values as values
from surefoot.weights._arithmetic._plan import MergePlan as MergePlan
from surefoot.weights._arithmetic._rules import EditRules as EditRules
from surefoot.weights._files._checkpoint import Checkpoint as Checkpoint
from surefoot.weights._files._checkpoint import from_state as from_state
from surefoot.weights._files._opening import open_checkpoint as open_checkpoint
from surefoot.weights._files._state import read_state as read_state
from surefoot.weights._mergekit._configuration import plan_merge as plan_merge
from surefoot.weights._mergekit._configuration import read_configuration as read_configuration
from surefoot.weights._output._apply import EditReport as EditReport
from surefoot.weights._output._apply import apply as apply
from surefoot.weights._output._apply import apply_grid as apply_grid
from surefoot.weights._output._apply import merge as merge
from surefoot.weights._output._apply import rewrite as rewrite
from surefoot.weights._output._extract import ExtractReport as ExtractReport
from surefoot.weights._output._extract import extract as extract
from surefoot.weights._output._recipe import replan as replan
from surefoot.weights._output._verify import Verification as Verification
from surefoot.weights._output._verify import verify as verify
from surefoot.weights._search import CoefficientSearch as CoefficientSearch
from surefoot.weights._search import CoefficientTrial as CoefficientTrial
from surefoot.weights._search import EditScore as EditScore
from surefoot.weights._search import Soup as Soup
from surefoot.weights._search import forgetting as forgetting
from surefoot.weights._search import greedy_soup as greedy_soup
from surefoot.weights._search import guarding as guarding
from surefoot.weights._search import learning as learning
from surefoot.weights._search import patching as patching
from surefoot.weights._search import search as search
from surefoot.weights._search import search_evolution as search_evolution
