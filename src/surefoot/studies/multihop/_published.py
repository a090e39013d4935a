"""The gap of published models, from their recorded completions and from printed counts."""

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from surefoot.core import Inputs, Measurement, Step, SurefootError, check_pinned, digest_of, unkeyed
from surefoot.language import Asking, ScriptedClient, ask_multihop, gap_table, pairs_table, read_multihop, read_prompts
from surefoot.stats import Interval, share_difference, wilson
from surefoot.studies.multihop._gaps import share_of

BAMBOOGLE, CELEBRITIES = "Bamboogle", "Compositional Celebrities"
MODELS = ("text-davinci-002", "gpt-3.5-turbo")
NAMES = {"direct": "direct_answer", "chain_of_thought": "chain_of_thought", "self_ask": "self_ask"}
PAIRS = (("direct", "chain_of_thought"), ("chain_of_thought", "self_ask"))
_FILES = (
    *("bamboogle.json", "bamboogle_prompts.json"),
    *(f"transcripts/bamboogle_{model}.json.gz" for model in MODELS),
    *(f"transcripts/compositional_celebrities_summary_{model}.json" for model in ("ada", "babbage", *MODELS)),
)


@dataclass(frozen=True, kw_only=True)
class PublishedGaps(Step):
    """The compositionality gap of published models by strategy; `folder` holds questions, prompts and transcripts.

    On Bamboogle recorded completions go through the tool as a live model's would (rule `cover`); of Compositional
    Celebrities, 1,000 questions, only counts are known (exact match). Measures by set (`task`), model (`shift`) and
    strategy (`group`) `gap`; and `narrowed`, the gap of one strategy less that of the next: paired where there are
    completions, else with the widest interval that any pairing of the counts gives.
    """

    folder: str = unkeyed("")
    digest: str = ""

    def pinned(self) -> Self:
        """With the whole path and the digest of the files as they are now. Raises where one cannot be read."""
        folder = Path(self.folder).resolve()
        return replace(self, folder=str(folder), digest="-".join(digest_of(folder / file)[:16] for file in _FILES))

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Replay, count."""
        check_pinned(self)
        for file in _FILES[2:]:
            made = _replayed if file.endswith(".gz") else _counted
            model = Path(file).name.partition(".json")[0].rsplit("_", 1)[1]
            yield from made(Path(self.folder) / file, model)


def _replayed(path: Path, model: str) -> Iterator[Measurement]:
    with gzip.open(path) as stream:
        rows: list[dict[str, Any]] = json.load(stream)["per_question_results"]
    known = {_squeezed(row[name]["prompt"]): row[name]["returned"] for row in rows for name in NAMES.values()}
    hops = [(row["subquestions_result"], hop) for row in rows for hop in ("Q1", "Q2")]
    known |= {_squeezed(told[f"{hop}_prompt"]): told[f"{hop}_returned"] for told, hop in hops}
    # Nobody recorded what they say when the bridge is given: that stays empty, and is not used.
    client = ScriptedClient(script=lambda request: known.get(_squeezed(request.prompt), ""), name=model)
    data = path.parent.parent
    questions, prompts = read_multihop(data / _FILES[0]).questions, read_prompts(data / _FILES[1])
    as_published = Asking(force=False, stop=())
    run = ask_multihop(client, questions, list(NAMES), prompts=prompts, asking=as_published)
    where = {"task": BAMBOOGLE, "shift": model}
    for row in gap_table(run).records():
        if row["rule"] == "cover":
            found = Interval(row["gap"], row["gap low"], row["gap high"])
            yield share_of("gap", found, row["hops known"], group=row["strategy"], **where)
    for row in pairs_table(run).records():
        if (row["rule"], row["measure"]) == ("cover", "gap") and (row["first"], row["second"]) in PAIRS:
            found = Interval(-row["difference"], -row["high"], -row["low"])  # the table has second less first
            yield share_of("narrowed", found, row["questions"], group=row["second"], **where)


def _squeezed(prompt: str) -> str:
    """A question of the file begins with a space, and published prompts end with one."""
    return " ".join(prompt.split())


def _counted(path: Path, model: str) -> Iterator[Measurement]:
    told, where = json.loads(path.read_text(encoding="utf-8")).get("summary", {}), {"task": CELEBRITIES, "shift": model}
    try:
        known = int(told["both_subquestions_correct_EM"])
        keys = {name: f"full_question_{said}_wrong_when_subquestions_correct_EM" for name, said in NAMES.items()}
        lost = {name: int(told[key]) for name, key in keys.items()}
    except KeyError as error:
        raise SurefootError(f"{path} has no count {error}: it is no summary of Compositional Celebrities.") from error
    for name, count in lost.items():
        yield share_of("gap", wilson(count, known), known, group=name, **where)
    for first, second in PAIRS:
        yield share_of("narrowed", widest_difference(lost[first], lost[second], known), known, group=second, **where)


def widest_difference(first: int, second: int, n: int) -> Interval:
    """The difference of two shares of the same `n`, from their counts alone.

    How they pair nobody knows: as few as can be are lost by both, since an interval is wider the more pairs differ.
    """
    both = max(0, first + second - n)
    return share_difference(first - both, second - both, n)
