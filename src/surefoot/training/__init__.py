"""What all trainings share: the loop, its schedule, determinism, and workers that do not communicate.

Begin with `Schedule` and `train`, `reproducible`, and for models tuned alone `Average`, `Merge` and `OuterStep`.
"""

from surefoot.training._deterministic import generator_for as generator_for
from surefoot.training._deterministic import keep_memory as keep_memory
from surefoot.training._deterministic import reproducible as reproducible
from surefoot.training._deterministic import rows_of_batch as rows_of_batch
from surefoot.training._deterministic import seed_for as seed_for
from surefoot.training._deterministic import shard_of as shard_of
from surefoot.training._local import Average as Average
from surefoot.training._local import Merge as Merge
from surefoot.training._local import OuterStep as OuterStep
from surefoot.training._loop import Decay as Decay
from surefoot.training._loop import Schedule as Schedule
from surefoot.training._loop import adamw as adamw
from surefoot.training._loop import check_settings as check_settings
from surefoot.training._loop import choose_parameters as choose_parameters
from surefoot.training._loop import last_tenth as last_tenth
from surefoot.training._loop import moments_of as moments_of
from surefoot.training._loop import set_moments as set_moments
from surefoot.training._loop import train as train
from surefoot.training._vectors import WEIGHTS as WEIGHTS
from surefoot.training._vectors import sum_of as sum_of
from surefoot.training._vectors import task_vectors as task_vectors
