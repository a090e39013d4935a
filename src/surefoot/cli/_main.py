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
# Target, first line of the help, and the rest of it. They stand here so that `surefoot --help` imports no command.
_COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Studies": {
        "run": (
            "_study:run",
            "Make what is missing of a study, test its claims, write its report.",
            "What is in the store is kept. It can be stopped at any moment and run again. "
            "Exits with 1 when a Step failed.\n\nExample: surefoot run quickstart --workers 2",
        ),
        "plan": (
            "_study:plan",
            "Say what a run would do, and about how long it takes.",
            "Example: surefoot plan quickstart",
        ),
        "why": (
            "_study:why",
            "Say which field makes a Step new.",
            "It is compared with the most similar artifact of its kind. "
            "STUDY may be a JSON file with the spec of a Step.\n\nExample: surefoot why quickstart 3fa2",
        ),
        "check": (
            "_study:check",
            "Test the claims of a study: exits with 1 when one is contradicted.",
            "Example: surefoot check quickstart --strict",
        ),
        "report": (
            "_study:report",
            "Write the report of a study from what the store holds.",
            "It is one HTML file that needs no network.\n\nExample: surefoot report quickstart --out quickstart.html",
        ),
    },
    "The store": {
        "show": ("_store:show", "Print one artifact: spec, measurements, provenance.", "Example: surefoot show 3fa2"),
        "table": (
            "_store:table",
            "Print measurements by any field, as text, TSV, JSON, LaTeX or Parquet.",
            "A field is a column of Measurement (metric, task, shift ...) or of a Step by its path (model.samples). "
            "Without --rows it lists every measurement with its interval.\n\n"
            "Example: surefoot table quickstart --rows model.model --columns shift "
            "--where '\"metric\" = $$top1$$'",
        ),
        "compare": (
            "_store:compare",
            "Compare artifacts with a baseline, example by example.",
            "It gives the difference of scores, its interval, and McNemar's test.\n\n"
            "Example: surefoot compare 3fa2 77b0",
        ),
        "stale": (
            "_store:stale",
            "List artifacts whose code changed after they were made.",
            "Nothing is recomputed: raise a Step's version for that.\n\nExample: surefoot stale",
        ),
        "export": (
            "_store:export",
            "Write everything measured into one SQLite or Parquet file.",
            "Example: surefoot export study.sqlite",
        ),
        "clean": (
            "_store:clean",
            "Remove unfinished work and, if asked, unused artifacts.",
            "Example: surefoot clean --keep quickstart --yes",
        ),
    },
    "Tools for your own data and models": {
        "evaluate": (
            "_evaluate:evaluate",
            "Name the pictures of a folder with any OpenCLIP model: zero-shot accuracy with intervals.",
            "Example: surefoot evaluate --model ViT-B-32 --pretrained model.safetensors --images photos "
            "--classes classes.txt",
        ),
        "fit": ("_fit:fit", "Fit laws to a table: scaling, learning curves, robustness under shift.", ""),
        "weights": ("_weights:weights", "Checkpoint arithmetic: merge, patch, average, compare, verify.", ""),
        "tabular": ("_tabular:tabular", "Subgroups in tables: sweep learners, audit predictions.", ""),
        "data": ("_data:data", "Data that ship in package registries: list, get, show.", ""),
    },
}
for _group in map(Group.create_ordered, _COMMANDS):
    for _name, (_target, _first, _rest) in _COMMANDS[_group.name].items():
        app.command(f"surefoot.cli.{_target}", name=_name, help=f"{_first}\n\n{_rest}", group=_group)


def main() -> None:
    """Run one command; a mistake of the user is one line on standard error and exit code 2, never a traceback."""
    try:
        result = app(sys.argv[1:], result_action="return_value")
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
