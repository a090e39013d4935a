"""The command line: it parses, calls, prints."""

from surefoot.cli._main import app as app
from surefoot.cli._main import main as main
