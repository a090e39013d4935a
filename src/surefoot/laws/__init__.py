"""Laws: fits of scaling and of robustness over tables of results, and over Measurements.

Begin with `read_table`, `fit_scaling` and `fit_shift`; in a study `TableScaling`, `ScalingFit` and
`ShiftFit` are Steps.
"""

from surefoot.laws._figures import LawRecord as LawRecord
from surefoot.laws._figures import effect_figure as effect_figure
from surefoot.laws._figures import law_figure as law_figure
from surefoot.laws._figures import law_residual_figure as law_residual_figure
from surefoot.laws._figures import robustness_figure as robustness_figure
from surefoot.laws._mixture._fit import BestShares as BestShares
from surefoot.laws._mixture._fit import MixtureLaw as MixtureLaw
from surefoot.laws._mixture._fit import MixturePrediction as MixturePrediction
from surefoot.laws._mixture._fit import best_shares as best_shares
from surefoot.laws._mixture._fit import fit_mixture as fit_mixture
from surefoot.laws._mixture._fit import log_share_scores as log_share_scores
from surefoot.laws._mixture._fit import predict_mixture as predict_mixture
from surefoot.laws._mixture._gaussian import mixture_slope as mixture_slope
from surefoot.laws._mixture._step import MixtureFit as MixtureFit
from surefoot.laws._results._checks import as_fractions as as_fractions
from surefoot.laws._results._checks import check_keys as check_keys
from surefoot.laws._results._checks import drop_repeated as drop_repeated
from surefoot.laws._results._checks import find_aggregates as find_aggregates
from surefoot.laws._results._checks import pivot_scores as pivot_scores
from surefoot.laws._results._table import ResultTable as ResultTable
from surefoot.laws._results._table import keep_rows as keep_rows
from surefoot.laws._results._table import keep_where as keep_where
from surefoot.laws._results._table import make_table as make_table
from surefoot.laws._results._table import numbers_of as numbers_of
from surefoot.laws._results._table import plain_cell as plain_cell
from surefoot.laws._results._table import read_table as read_table
from surefoot.laws._results._table import text_of as text_of
from surefoot.laws._scaling._fit import fit_scaling as fit_scaling
from surefoot.laws._scaling._fit import law_sensitivity as law_sensitivity
from surefoot.laws._scaling._fit import predict_band as predict_band
from surefoot.laws._scaling._optimal import OptimalPlans as OptimalPlans
from surefoot.laws._scaling._optimal import optimal_plans as optimal_plans
from surefoot.laws._scaling._optimal import plan_figure as plan_figure
from surefoot.laws._scaling._optimal import plan_table as plan_table
from surefoot.laws._scaling._points import PointOptions as PointOptions
from surefoot.laws._scaling._points import ScalingPoints as ScalingPoints
from surefoot.laws._scaling._predict import places_of as places_of
from surefoot.laws._scaling._predict import predictive_band as predictive_band
from surefoot.laws._scaling._step import ScalingFit as ScalingFit
from surefoot.laws._scaling._step import law_record as law_record
from surefoot.laws._scaling._table_step import ExponentDifference as ExponentDifference
from surefoot.laws._scaling._table_step import TableScaling as TableScaling
from surefoot.laws._scaling._types import FamilyLaw as FamilyLaw
from surefoot.laws._scaling._types import LawOptions as LawOptions
from surefoot.laws._scaling._types import ScalingLaws as ScalingLaws
from surefoot.laws._shift._accuracies import Accuracies as Accuracies
from surefoot.laws._shift._accuracies import long_accuracies as long_accuracies
from surefoot.laws._shift._accuracies import measured_accuracies as measured_accuracies
from surefoot.laws._shift._accuracies import wide_accuracies as wide_accuracies
from surefoot.laws._shift._data import AVERAGE as AVERAGE
from surefoot.laws._shift._data import ShiftData as ShiftData
from surefoot.laws._shift._data import shift_data as shift_data
from surefoot.laws._shift._fit import Relative as Relative
from surefoot.laws._shift._fit import RobustnessFit as RobustnessFit
from surefoot.laws._shift._fit import Variant as Variant
from surefoot.laws._shift._fit import fit_shift as fit_shift
from surefoot.laws._shift._sections import SECTIONS as SECTIONS
from surefoot.laws._shift._sections import shift_measurements as shift_measurements
from surefoot.laws._shift._sections import shift_table as shift_table
from surefoot.laws._shift._step import ShiftFit as ShiftFit
from surefoot.laws._shift._step import write_shift as write_shift
