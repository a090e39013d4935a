"""The commands by name. Each module is imported only when its command is used."""

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import is_dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter

from surefoot import __version__
from surefoot.cli._common import Exit
from surefoot.cli._output import check_file, say
from surefoot.core import SurefootError, file_place, is_stream

app = App(
    name="surefoot",
    help="A laboratory for models that must keep their footing when the data shifts.",
    version=__version__,
    version_flags=("--version", "-V"),
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=()),
)
app.register_install_completion_command()
# Target, first line of the help, and the rest of it. They stand here so that `surefoot --help` imports no command.
_COMMANDS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Studies": {
        "studies": (
            "_study:studies",
            "List the studies, with a line on each.",
            "The options of one: surefoot run STUDY --help.\n\nExample: surefoot studies",
        ),
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
            "Test the claims of a study: a gate for CI.",
            "Exits with 1 when a claim is contradicted, with 2 when it has nothing to judge: Steps missing or failed, "
            "a check that raises, an interval wider than the claim needs. What is undecided fails only with --strict."
            "\n\nExample: surefoot check quickstart --run --strict --junit claims.xml",
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
            "Print measurements by any field, as text, TSV, CSV, JSON, Markdown, LaTeX or Parquet.",
            "A field is a column of Measurement (metric, task, shift ...) or of a Step by its path (model.samples). "
            "Without --rows it lists every measurement with its interval. What is damaged is left out and named; it "
            "then exits with 2.\n\n"
            "Example: surefoot table quickstart --rows model.model --columns shift "
            "--where \"metric = 'top1'\"",
        ),
        "compare": (
            "_compare:compare",
            "Compare models with a baseline, example by example: a gate between two models.",
            "Each is the beginning of a key in the store, or a file of examples, as evaluate --examples writes it. "
            "With --margin it exits with 0 when every model is shown to be no worse by more than that, with 1 when "
            "one is shown to be worse, and with 2 when the examples cannot tell."
            "\n\nExample: surefoot compare old.parquet new.parquet --margin 0.01",
        ),
        "stale": (
            "_store:stale",
            "List artifacts whose code changed after they were made.",
            "Nothing is recomputed: raise a Step's version for that. The Steps of a study that is a file are found "
            "when it is named.\n\nExample: surefoot stale my_study.py",
        ),
        "verify": (
            "_store:verify",
            "Compare every file in the store with its recorded digest.",
            "Exits with 1 when something is damaged, and says which file.\n\nExample: surefoot verify quickstart",
        ),
        "export": (
            "_store:export",
            "Write everything measured into one SQLite or Parquet file.",
            "Example: surefoot export study.sqlite",
        ),
        "clean": (
            "_store:clean",
            "Remove unfinished work and, if asked, unused artifacts.",
            "With --keep it removes what only other studies made; what no run explains stays without --unknown. It "
            "removes nothing while a run uses the store.\n\nExample: surefoot clean --keep quickstart --yes",
        ),
    },
    "Tools for your own data and models": {
        "evaluate": (
            "_evaluate:evaluate",
            "Name the pictures of a folder with any OpenCLIP model: zero-shot accuracy with intervals.",
            "Nothing is downloaded, no code in checkpoints is run. With --baseline and --margin it exits with 0 when "
            "top-1 is shown to fall by no more than the margin, with 1 when it is shown to fall by more, and with 2 "
            "when these pictures cannot tell.\n\n"
            "Example: surefoot evaluate --model ViT-B-32 --pretrained model.safetensors --images photos "
            "--classes classes.txt",
        ),
        "fit": ("_fit:fit", "Fit laws to a table: scaling, learning curves, robustness under shift.", ""),
        "weights": ("_weights:weights", "Checkpoint arithmetic: merge, patch, average, compare, verify.", ""),
        "reading": (
            "_language:reading",
            "Reading comprehension: scores, how many questions are enough, robustness cards.",
            "",
        ),
        "tabular": ("_tabular:tabular", "Subgroups in tables: sweep learners, audit predictions.", ""),
        "multihop": (
            "_language:multihop",
            "Questions of several hops: the compositionality gap, self-ask, search, replay.",
            "",
        ),
        "pairs": ("_pairs:pairs", "Image-text pairs: from a web crawl to a filtered, searchable set.", ""),
        "scrutiny": ("_scrutiny:scrutiny", "Evidentiary software: adversarial tests near the case at hand.", ""),
        "data": ("_data:data", "Data that ship in package registries: list, get, show.", ""),
    },
}
for _group in map(Group.create_ordered, _COMMANDS):
    for _name, (_target, _first, _rest) in _COMMANDS[_group.name].items():
        app.command(f"surefoot.cli.{_target}", name=_name, help=f"{_first}\n\n{_rest}", group=_group)


_WRITTEN = ("out", "figure", "report", "junit")
_WITH_OPTIONS = ("run", "plan", "why", "check", "report", "table")


def main() -> None:
    """Run one command; a mistake of the user is one line on standard error and exit code 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that knows no '✓' shows it in another way
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *place, **more: say(f"surefoot: warning: {message}")
        sys.exit(_run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> int:
    # The parser takes a single dash for an option: it is what stands there, standard output after --out and its like.
    ends = [f"/dev/std{'out' if before.lstrip('-') in _WRITTEN else 'in'}" for before in ("", *arguments)]
    arguments = [end if argument == "-" else argument for argument, end in zip(arguments, ends, strict=False)]
    try:
        if "" in arguments:  # to the parser it is the folder where one stands
            before = arguments[arguments.index("") - 1] if arguments[0] else "surefoot"
            raise SurefootError(f"What follows {before} is empty: a variable of the shell that is not set?")
        command, told, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        _check_written(told.arguments)
        result = command(*told.args, **told.kwargs)
        _say_options(arguments)
        sys.stdout.flush()
        return result if isinstance(result, int) else Exit.HOLDS
    except CycloptsError as error:
        return _refused(" ".join(str(error).split()))
    except SurefootError as error:
        return _refused(str(error))
    except KeyboardInterrupt:
        makes = arguments and arguments[0] in ("run", "check", "tabular", "reading", "multihop")
        say(f"surefoot: stopped.{' Finished Steps are kept; run again to go on.' if makes else ''}")
        return Exit.STOPPED
    except BrokenPipeError:
        _drop_output()
        return Exit.CLOSED
    except OSError as error:
        _drop_output()
        return _refused(f"{error.filename or 'The output'} cannot be used: {error.strerror or error}.")
    except RecursionError:
        return _refused("An input is nested too deeply to be read.")
    except Exception as error:
        if os.environ.get("SUREFOOT_TRACEBACK"):
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{os.path.basename(place.filename)}, line {place.lineno}"  # noqa: PTH119
        say(
            f"surefoot: A fault in Surefoot or in a study: {type(error).__name__}: {error} ({where}). "
            "SUREFOOT_TRACEBACK=1 shows more."
        )
        return Exit.FAULT


def _check_written(told: Mapping[str, Any]) -> None:
    """Refuse before all work to write a file that the command reads, what is no file, and what fails at the end."""
    texts = dict(_plain(told))
    if texts.get("format") == "parquet" and not texts.get("out", "").endswith(".parquet"):
        raise SurefootError(
            "Parquet is not text: choose tsv, csv or json, or name a file with --out, where there is one."
        )
    if (figure := texts.get("figure", "None")) != "None":
        from surefoot.figures import check_suffix

        check_suffix(Path(figure))
        check_file(Path(figure))
    given = [(name, Path(part)) for name, value in _plain(told) for part in {value, value.rpartition("=")[2]} if part]
    with suppress(ValueError, OSError):  # a text with a NUL, or too long, is no path, which the command says
        for out in (path for name, path in given if name in _WRITTEN and not (path.is_dir() or is_stream(path))):
            place = file_place(out)
            if any(name not in _WRITTEN and path.is_file() and place == file_place(path) for name, path in given):
                raise SurefootError(f"{out} is read by this command: write to another file.")


def _plain(told: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every argument as text, by name; those of one option, and of groups of options, each for itself."""
    for name, value in told.items():
        if is_dataclass(value):
            yield from _plain(vars(value))
        else:
            yield from ((name, str(one)) for one in (value if isinstance(value, (tuple, list)) else [value]))


def _refused(text: str) -> int:
    say(f"surefoot: {text}")
    return Exit.UNJUDGED


def _drop_output() -> None:
    """What could not be written must not be tried again when Python ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say_options(arguments: Sequence[str]) -> None:
    """`surefoot run STUDY --help` also tells the options of that study."""
    names = [argument for argument in arguments[1:] if not argument.startswith("-")]
    if names and arguments[0] in _WITH_OPTIONS and {"--help", "-h"} & set(arguments):
        from surefoot.studies import study_options

        try:
            options = study_options(names[0])
        except SurefootError:  # the word was no study: the value of another option
            return
        print(f"\nOptions of {names[0]} (-o name=value):")
        rows = [(option.name, option.type, option.default) for option in options] or [("none", "", "")]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        for name, kind, default in rows:
            print(f"  {name:{widths[0]}}  {kind:{widths[1]}}  {default}".rstrip())
