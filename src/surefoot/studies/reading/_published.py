"""The published landscape: 207 readers on 16 sets (arXiv 2210.12517), by adaptation, as a fit of robustness."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np

from surefoot.core import Inputs, Measurement, Step, check_pinned, digest_of, unkeyed
from surefoot.laws import (
    ResultTable,
    RobustnessFit,
    fit_shift,
    keep_rows,
    long_accuracies,
    make_table,
    read_table,
    shift_data,
    text_of,
    write_shift,
)
from surefoot.studies._folder import data_folder

BASELINE = "fully fine-tuned"
ADAPTATIONS = (
    *(BASELINE, "adapter", "robust training", "few-shot span", "few-shot prompt"),
    *("prompt fine-tuned", "in context", "zero-shot"),
)
"""How a reader was adapted to the task, in the order of figures; the line is that of the first."""
IN_DISTRIBUTION, CONTROL = "squad", "no shift (xquad)"
"""XQuAD in English is paragraphs of SQuAD: what is found on it is no robustness, and enters no average and no claim."""
_FILES = ("published_evaluations.csv", "published_evaluations_annotations.csv")
_TYPES = {"prompt finetuned": "prompt fine-tuned", "icl": "in context", "zeroshot": "zero-shot"}


@dataclass(frozen=True, kw_only=True)
class PublishedLandscape(Step):
    """The published evaluations as a line of fully fine-tuned readers and what each adaptation has over it.

    `folder` holds published_evaluations.csv and published_evaluations_annotations.csv, known by their contents. With
    `cluster` whole families of models are drawn in the bootstrap. Gives the Measurements of `shift_measurements` but
    those of single models (they are in models.tsv), `left_out` (models), and one TSV a section of `shift_table`.
    """

    folder: str = unkeyed("")
    digest: str = ""
    axis: Literal["logit", "probit", "linear"] = "logit"
    cluster: bool = False
    replicates: int = 1000
    seed: int = 0

    def pinned(self) -> Self:
        """With the whole path and the digest of both files as they are now. Raises where one cannot be read."""
        folder = Path(self.folder).resolve()
        digest = "-".join(digest_of(folder / name) for name in _FILES)
        return replace(self, folder=str(folder), digest=digest)

    def make(self, out: Path, inputs: Inputs) -> Iterable[Measurement]:
        """Read, sort by adaptation, fit, and write the tables."""
        check_pinned(self)
        whole, kept = published_evaluations(Path(self.folder))
        fit = _fitted(self, kept)
        for measured in write_shift(out, fit):
            if measured.metric != "effective_robustness":
                yield measured
        left_out = len(set(text_of(whole, "model_name"))) - len(fit.data.models)
        yield Measurement(metric="left_out", value=left_out, n=left_out)


def published_folder(given: str = "") -> Path:
    """The folder of the published evaluations: the one given, else `SUREFOOT_DATA`/reading. Raises without either."""
    return data_folder(
        given,
        "reading",
        "The published evaluations are read from a folder: set SUREFOOT_DATA to the one that holds 'reading', or "
        f"name the folder of {' and '.join(_FILES)} (-o published=DIR, --published DIR).",
    )


def published_evaluations(folder: Path) -> tuple[ResultTable, ResultTable]:
    """The table as published, and with the column `adaptation`, without the rows that the paper's own page leaves out.

    Left out are interpolated weights (WiSE-FT) and few-shot sequence-to-sequence models. Raises for missing files.
    """
    table, notes = (read_table(folder / name) for name in _FILES)
    marks = (text_of(notes, name).tolist() for name in ("model_name", "is_adapter", "is_robust"))
    known = {name: (adapter == "True", robust == "True") for name, adapter, robust in zip(*marks, strict=True)}
    names, types = (text_of(table, name).tolist() for name in ("model_name", "type"))
    found = [_adaptation(*one, *known.get(one[0], (False, False))) for one in zip(names, types, strict=True)]
    whole = make_table({**table.columns, "adaptation": np.array(found)}, source=table.source)
    return table, keep_rows(whole, np.array(found) != "")


def published_fit(folder: Path, shifts: tuple[str, ...] = ()) -> RobustnessFit:
    """The published landscape on logit axes under some shifts (default: all), to place one more reader against."""
    return _fitted(PublishedLandscape(replicates=200), published_evaluations(folder)[1], shifts)


def _adaptation(name: str, kind: str, adapter: bool, robust: bool) -> str:
    """By the rules of the paper's page; '' for what it does not show."""
    if "wise-ft" in name or (kind == "fewshot" and "seq2seq" in name):
        return ""
    if kind == "fewshot":
        causal = re.match("gpt|opt", name) and "span-head" not in name
        return "few-shot prompt" if causal or "mask-fill" in name else "few-shot span"
    fine_tuned = "adapter" if adapter else "robust training" if robust else BASELINE
    return fine_tuned if kind == "finetuned" else _TYPES.get(kind, kind)


def _fitted(step: PublishedLandscape, table: ResultTable, shifts: tuple[str, ...] = ()) -> RobustnessFit:
    widths = ("f1_lower", "f1_upper")
    scores = long_accuracies(table, task="dataset", value="f1", model=("model_name",), half_widths=widths)
    named = {"baseline": (f"adaptation={BASELINE}",), "group": "adaptation", "family": "model_family"}
    data = shift_data(scores, x=IN_DISTRIBUTION, shifts=shifts, **named)
    return fit_shift(data, axis=step.axis, cluster=step.cluster, replicates=step.replicates, seed=step.seed)
