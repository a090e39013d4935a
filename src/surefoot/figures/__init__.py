"""Figures: pure functions from rows to a table and its Vega-Lite drawing, and figures as files.

Begin with `interval_plot`, `scaling_curve`, `robustness_scatter`, `heat_table` and `write_figure`.
"""

from surefoot.figures._cells import contact_sheet as contact_sheet
from surefoot.figures._cells import heat_table as heat_table
from surefoot.figures._cells import text_picture as text_picture
from surefoot.figures._intervals import interval_plot as interval_plot
from surefoot.figures._layers import Row as Row
from surefoot.figures._palette import COLOURS as COLOURS
from surefoot.figures._palette import SHAPES as SHAPES
from surefoot.figures._robustness import robustness_scatter as robustness_scatter
from surefoot.figures._scaling import coefficient_curve as coefficient_curve
from surefoot.figures._scaling import residual_plot as residual_plot
from surefoot.figures._scaling import scaling_curve as scaling_curve
from surefoot.figures._sheet import accuracy_text as accuracy_text
from surefoot.figures._sheet import sorted_by_section as sorted_by_section
from surefoot.figures._theme import Theme as Theme
from surefoot.figures._theme import theme_config as theme_config
from surefoot.figures._write import VEGA_LITE_VERSION as VEGA_LITE_VERSION
from surefoot.figures._write import check_suffix as check_suffix
from surefoot.figures._write import render_svg as render_svg
from surefoot.figures._write import to_csv as to_csv
from surefoot.figures._write import write_figure as write_figure
