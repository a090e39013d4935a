"""Laws: fits of scaling and of robustness over tables of results, and over Measurements."""

from surefoot.laws._shift import RobustnessFit as RobustnessFit
from surefoot.laws._shift import Variant as Variant
from surefoot.laws._shift import fit_shift as fit_shift
from surefoot.laws._shift_data import AVERAGE as AVERAGE
from surefoot.laws._shift_data import ShiftData as ShiftData
from surefoot.laws._shift_data import shift_data as shift_data
from surefoot.laws._shift_scores import Scores as Scores
from surefoot.laws._shift_scores import long_scores as long_scores
from surefoot.laws._shift_scores import measured_scores as measured_scores
from surefoot.laws._shift_scores import wide_scores as wide_scores
from surefoot.laws._tables import Finding as Finding
from surefoot.laws._tables import ResultTable as ResultTable
from surefoot.laws._tables import column_of as column_of
from surefoot.laws._tables import keep_rows as keep_rows
from surefoot.laws._tables import make_table as make_table
from surefoot.laws._tables import numbers_of as numbers_of
from surefoot.laws._tables import read_table as read_table
from surefoot.laws._tables import text_of as text_of
from surefoot.laws._tables_checks import as_fractions as as_fractions
from surefoot.laws._tables_checks import check_keys as check_keys
from surefoot.laws._tables_checks import drop_repeated as drop_repeated
from surefoot.laws._tables_checks import find_aggregates as find_aggregates
from surefoot.laws._tables_checks import pivot_scores as pivot_scores
