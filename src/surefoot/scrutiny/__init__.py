"""Scrutiny of evidentiary software: adversarial tests near the case at hand, kept so that anybody can repeat them.

Begin with `Scrutiny` (the question, the system, the case, the claims, the plan), which a case file returns;
`write_plan`, `run_scrutiny` and `verify_bundle`.
"""

from surefoot.scrutiny._bundle import Verified as Verified
from surefoot.scrutiny._bundle import deposit_line as deposit_line
from surefoot.scrutiny._bundle import read_plan as read_plan
from surefoot.scrutiny._bundle import verify_bundle as verify_bundle
from surefoot.scrutiny._bundle import write_plan as write_plan
from surefoot.scrutiny._claims import Judged as Judged
from surefoot.scrutiny._claims import Ratios as Ratios
from surefoot.scrutiny._claims import Trial as Trial
from surefoot.scrutiny._claims import ValidityClaim as ValidityClaim
from surefoot.scrutiny._claims import answers as answers
from surefoot.scrutiny._claims import assess as assess
from surefoot.scrutiny._claims import calibration as calibration
from surefoot.scrutiny._claims import deterministic as deterministic
from surefoot.scrutiny._claims import false_inclusion as false_inclusion
from surefoot.scrutiny._claims import invariant as invariant
from surefoot.scrutiny._claims import judge as judge
from surefoot.scrutiny._claims import monotone as monotone
from surefoot.scrutiny._claims import ratio_bounds as ratio_bounds
from surefoot.scrutiny._claims import same_in_versions as same_in_versions
from surefoot.scrutiny._claims import subgroup_gap as subgroup_gap
from surefoot.scrutiny._claims import worst_case as worst_case
from surefoot.scrutiny._domain import Constraint as Constraint
from surefoot.scrutiny._domain import Domain as Domain
from surefoot.scrutiny._domain import Variable as Variable
from surefoot.scrutiny._domain import sample as sample
from surefoot.scrutiny._forensic._defects import DEFECTS as DEFECTS
from surefoot.scrutiny._forensic._defects import defective_ratio as defective_ratio
from surefoot.scrutiny._forensic._defects import seen_frequency as seen_frequency
from surefoot.scrutiny._forensic._genotyping import genotype_ratio as genotype_ratio
from surefoot.scrutiny._forensic._glass import glass_pair as glass_pair
from surefoot.scrutiny._forensic._glass import glass_ratio as glass_ratio
from surefoot.scrutiny._forensic._glass import invariance_bounds as invariance_bounds
from surefoot.scrutiny._forensic._glass import trained_on_glass as trained_on_glass
from surefoot.scrutiny._forensic._mixtures import contributors_by_count as contributors_by_count
from surefoot.scrutiny._forensic._mixtures import laboratory_stain as laboratory_stain
from surefoot.scrutiny._forensic._mixtures import simulate_stain as simulate_stain
from surefoot.scrutiny._forensic._populations import population as population
from surefoot.scrutiny._forensic._striations import simulate_striations as simulate_striations
from surefoot.scrutiny._forensic._striations import striation_score as striation_score
from surefoot.scrutiny._run import ask_again as ask_again
from surefoot.scrutiny._run import run_scrutiny as run_scrutiny
from surefoot.scrutiny._scrutiny import KnownRate as KnownRate
from surefoot.scrutiny._scrutiny import Scrutiny as Scrutiny
from surefoot.scrutiny._scrutiny import ScrutinyPlan as ScrutinyPlan
from surefoot.scrutiny._scrutiny import can_find as can_find
from surefoot.scrutiny._statistics import elub as elub
from surefoot.scrutiny._statistics import first_order as first_order
from surefoot.scrutiny._statistics import mean_ratio_p as mean_ratio_p
from surefoot.scrutiny._statistics import rate_sequence as rate_sequence
from surefoot.scrutiny._statistics import sequential_p as sequential_p
from surefoot.scrutiny._statistics import smallest_rate_seen as smallest_rate_seen
from surefoot.scrutiny._systems._kinds import CommandSystem as CommandSystem
from surefoot.scrutiny._systems._kinds import HttpSystem as HttpSystem
from surefoot.scrutiny._systems._kinds import Limits as Limits
from surefoot.scrutiny._systems._kinds import PythonSystem as PythonSystem
from surefoot.scrutiny._systems._kinds import Reply as Reply
from surefoot.scrutiny._systems._session import Session as Session
from surefoot.scrutiny._validation import FaultSeen as FaultSeen
from surefoot.scrutiny._validation import ValidationPower as ValidationPower
from surefoot.scrutiny._validation import shows as shows
from surefoot.scrutiny._validation import validation_power as validation_power
