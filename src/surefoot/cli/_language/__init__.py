"""Language from the command line: `surefoot reading score | data | enough | card`, `surefoot multihop gap | replay`."""

from cyclopts import App

reading = App(name="reading", help="Reading comprehension: readers, their scores, robustness cards.")
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
reading.command(
    "surefoot.cli._language._card:enough",
    name="enough",
    help="Say whether the answers so far decide what the full set will say, and about how many would.\n\n"
    "The interval of the full set holds at every look together: one may stop at any. Exits with 0 when the full set is "
    "known to lie above, below or within the margin of the bound, with 2 while that is open.\n\n"
    "Example: surefoot reading enough bert.parquet other.parquet --of 10570 --margin 0.02",
)
reading.command(
    "surefoot.cli._language._card:card",
    name="card",
    help="Say how far above or below the line of published readers yours is under each shift, and what it loses.\n\n"
    "SET is squad or the published name of a shift (squadshifts_new_wiki). JSON holds the lost questions too.\n\n"
    "Example: surefoot reading card --model ./bert-squad --sample 1000 --report card.html",
)
reading.command(
    "surefoot.cli._language._evaluate:evaluate",
    name="evaluate",
    help="Ask a reader the questions of files and score its answers: span models, causal models, endpoints, files.\n\n"
    "All goes through the store: what is answered is never asked again, also after a kill.\n\n"
    "Example: surefoot reading evaluate --model ./bert-squad --data dev-v1.1.json --sample 500",
)
reading.command(
    "surefoot.cli._language._evaluate:train",
    name="train",
    help="Train the packaged MiniLM, or an encoder of yours, into a span reader in Hugging Face's form.\n\n"
    "Example: surefoot reading train --questions train.json --out my-reader --layers 3",
)

multihop = App(name="multihop", help="Questions of several hops: the compositionality gap and self-ask.")
multihop.command(
    "surefoot.cli._language._multihop:gap",
    name="gap",
    help="Ask each question and its sub-questions, and measure the gap: all hops known, the whole wrong.\n\n"
    "Answers are kept beside the store as they come: a run that was stopped goes on, and nothing is asked twice.\n\n"
    "Example: surefoot multihop gap --model http://localhost:8000/v1#llama --questions bamboogle.json",
)
multihop.command(
    "surefoot.cli._language._multihop:replay",
    name="replay",
    help="Make the tables of a run again from its file, without a model, a search engine or a network.\n\n"
    "Example: surefoot multihop replay multihop-run.jsonl.gz --figure causes.svg",
)
