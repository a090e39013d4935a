"""Steps, their measurements, and the store that keeps them. It knows no machine learning."""

from surefoot.core._errors import SurefootError as SurefootError
from surefoot.core._errors import missing_module as missing_module
from surefoot.core._measurement import Measurement as Measurement
