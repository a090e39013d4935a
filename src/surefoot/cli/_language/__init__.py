"""Language from the command line: `surefoot reading` and `surefoot multihop`."""

from cyclopts import App

from surefoot.cli._language._card import card, enough
from surefoot.cli._language._evaluate import evaluate, train
from surefoot.cli._language._multihop import gap, replay
from surefoot.cli._language._reading import data, score

reading = App(name="reading", help="Reading comprehension: readers, their scores, robustness cards.")
multihop = App(name="multihop", help="Questions of several hops: the compositionality gap and self-ask.")
for _app, _commands in ((reading, (score, data, enough, card, evaluate, train)), (multihop, (gap, replay))):
    for _command in _commands:
        _app.command(_command)
