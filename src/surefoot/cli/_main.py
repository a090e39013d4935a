"""The commands by name. Each module is imported only when its command is used."""

import sys

from cyclopts import App, Group

from surefoot import __version__
from surefoot.core import SurefootError

app = App(
    name="surefoot",
    help="A laboratory for models that must keep their footing when the data shifts.",
    version=__version__,
    help_format="plaintext",
)
_COMMANDS = {
    "Studies": {
        "run": ("_study:run", "Make what is missing of a study, test its claims, write its report."),
        "plan": ("_study:plan", "Say what a run would do, and about how long it takes."),
        "why": ("_study:why", "Say which field makes a Step new."),
        "check": ("_study:check", "Test the claims of a study: exits with 1 when one is contradicted."),
        "report": ("_study:report", "Write the report of a study from what the store holds."),
    },
    "The store": {
        "show": ("_store:show", "Print one artifact: spec, measurements, provenance."),
        "table": ("_store:table", "Print measurements by any field, as text, TSV, JSON, LaTeX or Parquet."),
        "compare": ("_store:compare", "Compare two artifacts example by example."),
        "stale": ("_store:stale", "List artifacts whose code changed after they were made."),
        "export": ("_store:export", "Write everything measured into one SQLite or Parquet file."),
        "clean": ("_store:clean", "Remove unfinished work and, if asked, unused artifacts."),
    },
}
for _group in map(Group.create_ordered, _COMMANDS):
    for _name, (_target, _help) in _COMMANDS[_group.name].items():
        app.command(f"surefoot.cli.{_target}", name=_name, help=_help, group=_group)


def main() -> None:
    """Run one command; a mistake of the user is one line on standard error and exit code 2, never a traceback."""
    try:
        result = app(result_action="return_value")
    except SurefootError as error:
        print(f"surefoot: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("surefoot: stopped. Finished Steps are kept; run again to go on.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(result if isinstance(result, int) else 0)
