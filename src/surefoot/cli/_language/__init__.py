"""Language from the command line: `surefoot reading score | data`."""

from cyclopts import App

reading = App(name="reading", help="Reading comprehension: score predictions, look at question files.")
reading.command(
    "surefoot.cli._language._reading:score",
    name="score",
    help="Score predictions as the official scripts do, with intervals over whole articles.\n\n"
    "Scores are in percent, as the scripts print them. What is missing or left over is said on the error stream.\n\n"
    "Example: surefoot reading score predictions.json dev-v2.0.json --examples bert.parquet",
)
reading.command(
    "surefoot.cli._language._reading:data",
    name="data",
    help="Say what question files hold: format, questions, articles, answers that are not where they should be.\n\n"
    "Example: surefoot reading data dev-v1.1.json",
)
