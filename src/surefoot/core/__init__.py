"""Steps, their measurements, and the store that keeps them. It knows no machine learning.

Begin with `Step` (a piece of work), `Measurement` (one number), `Store`, `run` (the one verb), and `Study` with its
`Claim`s and `Figure`s.
"""

from surefoot.core._errors import SurefootError as SurefootError
from surefoot.core._errors import missing_module as missing_module
from surefoot.core._files import Pinned as Pinned
from surefoot.core._files import check_pinned as check_pinned
from surefoot.core._files import digest_of as digest_of
from surefoot.core._files import full_disk_is_said as full_disk_is_said
from surefoot.core._files import write_text as write_text
from surefoot.core._lease import holder_is_alive as holder_is_alive
from surefoot.core._measurement import Measurement as Measurement
from surefoot.core._plan import Difference as Difference
from surefoot.core._plan import Pace as Pace
from surefoot.core._plan import Plan as Plan
from surefoot.core._plan import Seconds as Seconds
from surefoot.core._plan import cost_of as cost_of
from surefoot.core._plan import flatten as flatten
from surefoot.core._plan import flatten_spec as flatten_spec
from surefoot.core._plan import plan as plan
from surefoot.core._plan import stale as stale
from surefoot.core._plan import why as why
from surefoot.core._plan import why_each as why_each
from surefoot.core._pools import open_pool as open_pool
from surefoot.core._query import Table as Table
from surefoot.core._query import connect as connect
from surefoot.core._query import examples_path as examples_path
from surefoot.core._query import pivot as pivot
from surefoot.core._query import query as query
from surefoot.core._run import Event as Event
from surefoot.core._run import check_modules as check_modules
from surefoot.core._run import nobody_else as nobody_else
from surefoot.core._run import run as run
from surefoot.core._step import Inputs as Inputs
from surefoot.core._step import Resources as Resources
from surefoot.core._step import Step as Step
from surefoot.core._step import describe as describe
from surefoot.core._step import from_spec as from_spec
from surefoot.core._step import inputs_of as inputs_of
from surefoot.core._step import own_spec as own_spec
from surefoot.core._step import to_spec as to_spec
from surefoot.core._step import unkeyed as unkeyed
from surefoot.core._step import walk as walk
from surefoot.core._store import Artifact as Artifact
from surefoot.core._store import Store as Store
from surefoot.core._store import StoredInputs as StoredInputs
from surefoot.core._store import damages as damages
from surefoot.core._store import write_record as write_record
from surefoot.core._study import Claim as Claim
from surefoot.core._study import Figure as Figure
from surefoot.core._study import Observation as Observation
from surefoot.core._study import Recorded as Recorded
from surefoot.core._study import Results as Results
from surefoot.core._study import Status as Status
from surefoot.core._study import Study as Study
from surefoot.core._study import Unit as Unit
from surefoot.core._study import Verdict as Verdict
from surefoot.core._study import decide as decide
from surefoot.core._study import recorded as recorded
from surefoot.core._study import remember as remember
from surefoot.core._study import verdict_above as verdict_above
from surefoot.core._study import verdict_below as verdict_below
from surefoot.core._study import what_failed as what_failed
from surefoot.core._worker import report_progress as report_progress
from surefoot.core._worker import resume_directory as resume_directory
