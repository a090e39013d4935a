"""Intervals, paired tests, laws and lines: pure functions on arrays."""

from surefoot.stats._intervals import Interval as Interval
from surefoot.stats._intervals import bootstrap as bootstrap
from surefoot.stats._intervals import clopper_pearson as clopper_pearson
from surefoot.stats._intervals import clopper_pearson_bounds as clopper_pearson_bounds
from surefoot.stats._intervals import mean_t as mean_t
from surefoot.stats._intervals import quantile_bounds as quantile_bounds
from surefoot.stats._intervals import resample_counts as resample_counts
from surefoot.stats._intervals import t_quantile as t_quantile
from surefoot.stats._intervals import wilson as wilson
from surefoot.stats._intervals import wilson_bounds as wilson_bounds
from surefoot.stats._paired import McNemar as McNemar
from surefoot.stats._paired import PairedDifference as PairedDifference
from surefoot.stats._paired import holm as holm
from surefoot.stats._paired import mcnemar as mcnemar
from surefoot.stats._paired import mcnemar_p as mcnemar_p
from surefoot.stats._paired import paired_difference as paired_difference
from surefoot.stats._paired import t_p_value as t_p_value
