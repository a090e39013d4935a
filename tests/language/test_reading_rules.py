"""The rules of scoring answers: against the published figures of real systems and a slow reference of their own."""

import json
import os
import re
import string
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from surefoot.core import SurefootError
from surefoot.examples import compare_examples, read_examples
from surefoot.language import (
    READING_RULES,
    Predictions,
    Question,
    RuleName,
    best_threshold,
    official_report,
    read_predictions,
    read_questions,
    reading_measurements,
    score_questions,
    write_reading_examples,
)

ROOT = os.environ.get("SUREFOOT_DATA")
needs_data = pytest.mark.skipif(not ROOT, reason="SUREFOOT_DATA is not set")
FOLDER = Path(ROOT or "") / "reading"


def asked(name: str, *answers: str, article: str = "A") -> Question:
    """A question on a paragraph that holds its answers."""
    context = " ".join(answers)
    return Question(name, "Which?", context, answers, tuple(map(context.find, answers)), article, name)


# --- an independent reference: written from the definition, one text and one word at a time -----------------------


def slow_words(text: str, rule: RuleName) -> list[str]:
    text = unicodedata.normalize("NFD", text) if rule == "natural-questions" else text
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    pieces = re.split(r"(\w+)", kept)  # words stand at odd places, what is between them at even ones
    return "".join(
        " " if place % 2 and piece in ("a", "an", "the") else piece for place, piece in enumerate(pieces)
    ).split()


def slow_scores(answer: str | None, golds: Sequence[str], rule: RuleName) -> tuple[float, float] | None:
    second = rule == "squad-2.0"
    if answer is None:
        return None if second else (0.0, 0.0)
    right = [slow_words(gold, rule) for gold in golds]
    if second:
        right = [gold for gold in right if gold] or [[]]
    given_words = slow_words(answer, rule)
    f1s = []
    for gold in right:
        left, common = list(gold), 0
        for word in given_words:
            if word in left:
                left.remove(word)
                common += 1
        both_empty = 1.0 if second and not gold and not given_words else 0.0
        f1s.append(2 * common / (len(gold) + len(given_words)) if common else both_empty)
    return float(given_words in right), max(f1s)


WORDS = st.sampled_from(
    ["a", "an", "the", "The", "AN", "cat", "Cat", "cat's", "cat,", ".", "--", "a–b", "the«", "ΑΣ", "ΣΑΣ", "İ", "ß", "é",
     "é", " ", "\u200b", "\0", "3.5", "ana", "athe", "\t", "\x1f", "…", "$5"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=12), st.lists(WORDS, max_size=6).map(" ".join), st.lists(WORDS, max_size=4).map("".join)
)


@settings(deadline=None)
@given(
    rows=st.lists(st.tuples(st.none() | TEXTS, st.lists(TEXTS, max_size=4)), min_size=1, max_size=6),
    rule=st.sampled_from(list(READING_RULES)),
)
def test_scores_are_those_of_the_definition(rows: list[tuple[str | None, list[str]]], rule: RuleName) -> None:
    kept = [(answer, golds if golds or rule == "squad-2.0" else ["x"]) for answer, golds in rows]
    questions = [asked(f"q{place}", *golds) for place, (_, golds) in enumerate(kept)]
    answers = {f"q{place}": answer for place, (answer, _) in enumerate(kept) if answer is not None}
    questions.append(asked("last", "cat"))
    answers["last"] = "cat"
    found = score_questions(questions, Predictions(answers), rule)
    expected = [slow_scores(answer, golds, rule) for answer, golds in [*kept, ("cat", ["cat"])]]
    wanted = np.array([scores for scores in expected if scores is not None])
    assert np.allclose(np.column_stack([found.exact, found.f1]), wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("answer", "golds", "rule", "exact", "f1"),
    [
        ("The  Denver Broncos!", ("denver broncos",), "squad-1.1", 1, 1),
        ("new new york", ("new york",), "squad-1.1", 0, 0.8),  # words count as often as they stand there
        ("new new york", ("new york new",), "squad-1.1", 0, 1),
        ("york", ("new york", "the york"), "squad-1.1", 1, 1),  # the best of all right answers
        (".", (".",), "squad-1.1", 1, 0),  # the script of 1.1 gives two empty texts exact match and no F1
        (".", (".",), "squad-2.0", 1, 1),  # that of 2.0 drops such answers, so that only silence is right
        ("the", (), "squad-2.0", 1, 1),
        ("cat", (), "squad-2.0", 0, 0),
        (".", (".", "cat"), "squad-2.0", 0, 0),
        ("café", ("cafe\u0301",), "squad-1.1", 0, 0),
        ("café", ("cafe\u0301",), "natural-questions", 1, 1),
    ],
)
def test_cases_of_each_rule(answer: str, golds: tuple[str, ...], rule: RuleName, exact: float, f1: float) -> None:
    found = score_questions([asked("q", *golds)], Predictions({"q": answer}), rule)
    assert (found.exact[0], found.f1[0]) == (exact, pytest.approx(f1))


PUBLISHED = [
    ("squad_v1.1_dev", "bert_ensemble_v1.1", "squad-1.1", (86.2062, 92.1956), 0),
    ("squad_v1.1_dev", "logistic_regression_v1.1", "squad-1.1", (40.1419, 50.9815), 13),
    ("squad_v1.1_dev", "logistic_regression_v1.1", "squad-2.0", (40.1913, 51.0443), 13),
    ("squad_v2.0_dev", "bert_single_v2.0", "squad-2.0", (78.7417, 81.7753), 0),
]


@needs_data
@pytest.mark.parametrize(("data", "system", "rule", "published", "missing"), PUBLISHED)
def test_real_systems_have_their_official_scores(
    data: str, system: str, rule: RuleName, published: tuple[float, float], missing: int
) -> None:
    questions = read_questions(FOLDER / f"{data}.json.gz")
    found = score_questions(questions, read_predictions(FOLDER / "predictions" / f"{system}.json.gz"), rule)
    told = official_report(found, {})
    assert (round(told.get("exact", told.get("exact_match", 0)), 4), round(told["f1"], 4)) == published
    assert len(found.missing) == missing
    if system == "bert_single_v2.0":  # the two halves are those of its published entry, and weigh to the whole
        halves = {name: round(told[name], 4) for name in ("HasAns_exact", "HasAns_f1", "NoAns_exact", "NoAns_f1")}
        assert halves == {
            "HasAns_exact": 74.1059, "HasAns_f1": 80.1818, "NoAns_exact": 83.3642, "NoAns_f1": 83.3642
        }  # fmt: skip
        assert (told["total"], told["HasAns_total"], told["NoAns_total"]) == (11873, 5928, 5945)
        pairs = zip(found.questions[::8], found.answers[::8], strict=True)
        reference = [slow_scores(answer, one.answers, rule) for one, answer in pairs]
        assert np.allclose(np.column_stack([found.exact, found.f1])[::8], np.array(reference), rtol=1e-12)


@needs_data
def test_two_systems_are_compared_with_whole_articles_as_the_sample(tmp_path: Path) -> None:
    questions = read_questions(FOLDER / "squad_v1.1_dev.json.gz")
    scores = {}
    for system in ("bert_ensemble_v1.1", "logistic_regression_v1.1"):
        found = score_questions(questions, read_predictions(FOLDER / "predictions" / f"{system}.json.gz"), "squad-1.1")
        (tmp_path / system).mkdir()
        write_reading_examples(tmp_path / system, found)
        scores[system] = found.f1
    files = {system: tmp_path / system / "examples.parquet" for system in scores}
    told = compare_examples(read_examples(files, cluster="article")).models[0].paired
    first, second = scores.values()
    articles = np.unique([one.article for one in questions], return_inverse=True)[1]
    sums, sizes = np.bincount(articles, weights=second - first), np.bincount(articles)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=4000)
    low, high = np.quantile(drawn @ sums / (drawn @ sizes), [0.025, 0.975])  # a bootstrap of articles, by hand
    alone = compare_examples(read_examples(files)).models[0].paired.difference
    assert (told.clusters, told.n) == (48, 10570)
    assert (told.difference.low, told.difference.high) == pytest.approx((low, high), abs=0.003)
    assert told.difference.high - told.difference.low > 1.8 * (alone.high - alone.low)
    assert 0 < told.smallest_seen < 0.05


def test_missing_and_left_over_predictions_are_told_and_counted() -> None:
    questions = [asked("a", "cat"), asked("b", "dog"), asked("c", "cow")]
    answers = Predictions({"a": "cat", "b": "cat", "z": "cow"})
    first, second = (score_questions(questions, answers, rule) for rule in ("squad-1.1", "squad-2.0"))
    assert first.f1.tolist() == [1, 0, 0]
    assert second.f1.tolist() == [1, 0]
    assert (first.missing, first.extra) == (second.missing, second.extra) == (("c",), ("z",))
    assert (len(second.questions), official_report(second, {})["total"]) == (2, 2)
    with pytest.raises(SurefootError, match="None of the 3 questions has a prediction"):
        score_questions(questions, Predictions({"z": "cat"}), "squad-1.1")


def test_no_prediction_is_wrong_also_where_the_right_answer_normalises_to_nothing() -> None:
    """The empty answer would match "The" exactly by the rule of SQuAD 1.1; no answer at all does not."""
    questions = [asked("q1", "The"), asked("q2", "cat")]
    for said, exact in (({"q2": "cat"}, [0.0, 1.0]), ({"q1": "", "q2": "cat"}, [1.0, 1.0])):
        found = score_questions(questions, Predictions(said), "squad-1.1")
        assert (found.exact.tolist(), found.f1.tolist()) == (exact, [0.0, 1.0])


def test_questions_without_an_answer_need_a_rule_that_knows_them() -> None:
    with pytest.raises(SurefootError, match=r"1 questions have no answer \(the first is 'b'\).*squad-2.0"):
        score_questions([asked("a", "cat"), asked("b")], Predictions({"a": "cat"}), "squad-1.1")


def test_declared_phrases_of_abstention_are_silence_and_counted() -> None:
    questions = [asked("a"), asked("b"), asked("c", "I do not know")]
    answers = Predictions({"a": "Unanswerable.", "b": "It is unanswerable", "c": "i do not know!"})
    found = score_questions(questions, answers, "squad-2.0", abstain=("unanswerable", "I do not know", "the"))
    assert found.exact.tolist() == [1, 0, 0]
    assert (found.abstained, found.answers) == (("a", "c"), ("", "It is unanswerable", ""))
    assert score_questions(questions, answers, "squad-2.0").abstained == ()


def threshold_by_hand(scores: Sequence[float], sure: Sequence[float], has: Sequence[bool]) -> float:
    """The best mean over every threshold that can be applied, tried one by one."""
    tried = [-np.inf, *sure]
    means = [
        np.mean([float(not h) if s > bound else score for score, s, h in zip(scores, sure, has, strict=True)])
        for bound in tried
    ]
    return float(max(means))


@settings(deadline=None)
@example([(True, True, 0.1), (True, True, 0.7), (False, False, 0.7)])  # no threshold parts questions of one score
@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1, 0.2, 0.7, 1.0])), min_size=2, max_size=12
    )
)
def test_the_best_threshold_is_the_best_of_all_that_can_be_applied(rows: list[tuple[bool, bool, float]]) -> None:
    has, right, sure = (np.array(column) for column in zip(*rows, strict=True))
    answers = ["cat" if one or not ok else "" for one, ok in zip(has, right, strict=True)]
    scores = np.array([float(ok) for ok in right])
    found = best_threshold(scores, sure.astype(float), has.astype(bool), answers)
    if len(set(sure)) == 1:
        assert found is None  # scores that are all alike choose nothing
        return
    assert found is not None
    assert found.score == pytest.approx(threshold_by_hand(scores.tolist(), sure.tolist(), has.tolist()))
    silent = sure > found.threshold
    applied = np.where(silent, ~has.astype(bool), scores)
    assert applied.mean() == pytest.approx(found.score)


def test_thresholds_of_the_script_come_in_the_order_of_its_file() -> None:
    questions = [asked("a", "cat"), asked("b"), asked("c", "dog"), asked("d")]
    no_answer = {"d": 0.9, "c": 0.2, "b": 0.5, "a": 0.1}
    answers = Predictions({"a": "cat", "b": "x", "c": "dog", "d": "y"}, no_answer)
    found = score_questions(questions, answers, "squad-2.0")
    told = official_report(found, no_answer)
    assert (told["exact"], told["best_exact"], told["best_exact_thresh"]) == (50.0, 100.0, 0.2)
    measured = {(one.metric, one.group): one.value for one in reading_measurements(found)}
    assert (measured["best_f1", ""], measured["best_f1_threshold", ""]) == (1.0, 0.2)
    best = {name: value for name, value in told.items() if name.startswith("best_")}
    for above, exact in ((0.2, 100), (0.1, 75)):  # a threshold moves the scores, and not the best of any
        passed = official_report(found, no_answer, no_answer_above=above)
        assert (passed["exact"], passed["NoAns_exact"], {name: passed[name] for name in best}) == (exact, 100, best)
    tenfold = {name: 10 * score for name, score in no_answer.items()}
    differences = score_questions(questions, Predictions(answers.answers, tenfold), "squad-2.0")
    assert official_report(differences, tenfold)["exact"] == 75  # the script's own threshold is 1
    applied = score_questions(questions, answers, "squad-2.0", no_answer_above=0.2)
    assert (applied.exact.mean(), applied.answers) == (1.0, ("cat", "", "dog", ""))
    for above in (0.05, 0.2, 0.4):  # the best are chosen before any threshold is applied
        assert score_questions(questions, answers, "squad-2.0", no_answer_above=above).best == found.best
    tied = Predictions(answers.answers, dict.fromkeys("abcd", 0.0))
    assert score_questions(questions, tied, "squad-2.0").best == {}
    with pytest.raises(SurefootError, match="needs a score of every question"):
        score_questions(questions, Predictions(answers.answers), "squad-2.0", no_answer_above=0.5)


def test_intervals_stand_on_articles_and_one_article_has_none() -> None:
    rng = np.random.default_rng(1)
    rate = rng.beta(2, 2, size=40)
    questions = [asked(f"{article}-{n}", "cat", article=f"A{article}") for article in range(40) for n in range(25)]
    right = rng.random(1000) < np.repeat(rate, 25)
    answers = Predictions({one.id: "cat" if ok else "dog" for one, ok in zip(questions, right, strict=True)})
    exact = reading_measurements(score_questions(questions, answers, "squad-1.1"))[0]
    means = right.reshape(40, 25).mean(axis=1)
    assert exact.stderr == pytest.approx(means.std(ddof=1) / 40**0.5)
    assert exact.low is not None
    assert exact.high is not None
    assert exact.high - exact.low == pytest.approx(2 * 2.023 * (exact.stderr or 0), rel=0.05)
    alone = [asked(str(n), "cat") for n in range(5)]
    single = reading_measurements(score_questions(alone, Predictions({"0": "cat", "1": "dog"}), "squad-1.1"))[0]
    assert (single.value, single.low, single.stderr) == (0.2, None, None)
    perfect = reading_measurements(
        score_questions(questions, Predictions(dict.fromkeys((q.id for q in questions), "cat")), "squad-1.1")
    )[0]
    assert (perfect.value, perfect.high, round(perfect.low or 0, 3)) == (1.0, 1.0, 0.912)  # Wilson's at 40 articles


def test_few_articles_widen_the_interval_by_their_degrees_of_freedom() -> None:
    """Wilson's interval at the n that the error stands for, times the square of z over t (Korn and Graubard 1998)."""
    right = {0: 5, 1: 2, 2: 4, 3: 1}  # of six questions an article
    questions = [asked(f"{article}-{n}", "cat", article=f"A{article}") for article in right for n in range(6)]
    answers = {f"{article}-{n}": "cat" if n < least else "dog" for article, least in right.items() for n in range(6)}
    exact = reading_measurements(score_questions(questions, Predictions(answers), "squad-1.1"))[0]
    error = np.std([n / 6 for n in right.values()], ddof=1) / 2
    size = 0.25 / error**2 * (1.959964 / 3.182446) ** 2
    assert exact.stderr == pytest.approx(error)
    assert (exact.low, exact.high) == pytest.approx(proportion_confint(0.5 * size, size, method="wilson"), rel=1e-5)


def test_measurements_are_json_and_name_their_groups() -> None:
    questions = [asked("a", "cat", article="A"), asked("b", article="B"), asked("c", "dog", article="B")]
    found = score_questions(questions, Predictions({"a": "cat", "b": "", "c": "cat"}), "squad-2.0")
    told = reading_measurements(found, task="squad", shift="none")
    assert {(one.metric, one.group): (round(one.value, 3), one.n) for one in told} == {
        ("exact_match", ""): (0.667, 3), ("f1", ""): (0.667, 3),
        ("exact_match", "HasAns"): (0.5, 2), ("f1", "HasAns"): (0.5, 2),
        ("exact_match", "NoAns"): (1.0, 1), ("f1", "NoAns"): (1.0, 1),
        ("missing", ""): (0, 3), ("extra", ""): (0, 3), ("abstained", ""): (0, 3),
    }  # fmt: skip
    assert {(one.task, one.shift) for one in told} == {("squad", "none")}
    assert json.loads(json.dumps(official_report(found, {})))["NoAns_f1"] == 100
