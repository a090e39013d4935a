"""The report of a study: one HTML file that opens from disk and loads nothing.

Begin with `write_report`, `write_audit` and `write_card`.
"""

from surefoot.report._audit import write_audit as write_audit
from surefoot.report._browser import open_in_browser as open_in_browser
from surefoot.report._card import write_card as write_card
from surefoot.report._findings import Finding as Finding
from surefoot.report._notes import METHOD_NOTES as METHOD_NOTES
from surefoot.report._numbers import effect_text as effect_text
from surefoot.report._numbers import interval_text as interval_text
from surefoot.report._page import page_style as page_style
from surefoot.report._page import still as still
from surefoot.report._page import write_report as write_report
from surefoot.report._scrutiny import write_scrutiny as write_scrutiny
from surefoot.report._sheet import Section as Section
from surefoot.report._sheet import write_sheet as write_sheet
