"""A package whose Steps live in private modules, as Surefoot's own do."""

from package_of_steps._hidden import Open as Open
from package_of_steps._hidden import Twice as Twice
