"""Prompts of each strategy: our own, and those that others published, from their files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from surefoot.core import SurefootError
from surefoot.language._unpacked import Row, json_of, unpacked

_ALL = ""
_NEEDED = "Are follow up questions needed here: Yes."


@dataclass(frozen=True)
class Prompts:
    """The worked examples of each strategy by category of question; the category '' stands for all.

    `sub_questions` are those of the first hop, the second and so on, the last for all after it. Without any, a
    sub-question is asked alone. `name` says where they are from, with the first digits of the file's digest.
    """

    name: str
    direct_shots: Mapping[str, str]
    chain_of_thought_shots: Mapping[str, str]
    self_ask_shots: Mapping[str, str]
    sub_questions: tuple[Mapping[str, str], ...] = ()

    def direct(self, question: str, category: str = "") -> str:
        """The prompt of a question that is to be answered at once, as the last line of an example has it."""
        shots = self._shots(self.direct_shots, category)
        last = shots.rstrip().rsplit("\n", 1)[-1]
        head = "So the final answer is:" if last.startswith("So the final answer is:") else "Answer:"
        return f"{shots}\n\nQuestion: {question}\n{head}"

    def chain_of_thought(self, question: str, category: str = "") -> str:
        """The prompt of a question to be reasoned about."""
        return f"{self._shots(self.chain_of_thought_shots, category)}\n\nQuestion: {question}\nAnswer:"

    def self_ask(self, question: str, category: str = "") -> str:
        """The prompt of a question about which the model asks itself."""
        return f"{self._shots(self.self_ask_shots, category)}\n\nQuestion: {question}\n{_NEEDED}\n"

    def sub_question(self, question: str, hop: int, category: str = "") -> str:
        """The prompt of the sub-question of a hop, counted from 0."""
        if not self.sub_questions:
            return f"\n\nQuestion: {question}\n"
        shots = self._shots(self.sub_questions[min(hop, len(self.sub_questions) - 1)], category)
        return f"{shots}\n\nQuestion: {question}\nAnswer:"

    def _shots(self, shots: Mapping[str, str], category: str) -> str:
        found = shots.get(category, shots.get(_ALL))
        if found is None:
            raise SurefootError(
                f"The prompts {self.name} have none for questions of the category '{category}': they have "
                f"{', '.join(shots)[:300]}. Give prompts for these questions."
            )
        return found


def read_prompts(path: Path) -> Prompts:
    """Prompts from a JSON file as the authors' repositories have them.

    For all questions `direct_answer_prompt`, `chain_of_thought_prompt`, `self_ask_prompt` and perhaps
    `sub_question_prompt`; by category `direct_answer_prompt_dict` and so on, with `subquestion_1_prompt_dict` for each
    hop. Raises `SurefootError` for what is missing.
    """
    data = unpacked(path)
    told = Row.of(json_of(data, str(path)), str(path))
    needed = ("direct_answer_prompt", "chain_of_thought_prompt", "self_ask_prompt")
    shots = {name: _by_category(told, name) for name in needed}
    lacking = next((name for name in needed if not shots[name]), None)
    if lacking:
        raise SurefootError(f"{path} has neither '{lacking}' nor '{lacking}_dict': it needs prompts of every strategy.")
    numbered = ["sub_question_prompt", *(f"subquestion_{at}_prompt" for at in range(1, 10))]
    subs = tuple(filter(None, (_by_category(told, name) for name in numbered)))
    return Prompts(f"{path.name} {sha256(data).hexdigest()[:12]}", *shots.values(), sub_questions=subs)


def _by_category(told: Row, name: str) -> Mapping[str, str]:
    if name in told.told:
        return {_ALL: told.text(name)}
    each = Row.of(told.told.get(f"{name}_dict", {}), f"{told.where}: '{name}_dict'")
    return {category: each.text(category) for category in each.told}


@cache
def our_prompts() -> Prompts:
    """Four worked examples that come with Surefoot, for questions of any kind."""
    return read_prompts(Path(__file__).with_name("exemplars.json"))
