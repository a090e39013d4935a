"""What a model wrote, taken apart: follow-up questions, intermediate answers, the final answer. It never raises."""

import re
from dataclasses import dataclass

# A model writes "Follow up:", "Follow-up 1:", "**Subquestion 2:**", "- Intermediate answer 1:", and more of the kind.
_HEAD = r"^[ \t>*_#\-•]{0,8}(?:\d{1,2}[.)][ \t*_]{0,4})?"
_TAIL = r"[ \t]{0,3}\d{0,3}[ \t*_]{0,4}:[ \t*_]{0,4}"
_FOLLOW = re.compile(rf"{_HEAD}(?:follow[ \-]?up|sub[ \-]?question)(?: question)?{_TAIL}", re.I | re.M)
_MIDDLE = re.compile(rf"{_HEAD}(?:intermediate answer|answer){_TAIL}", re.I)
_PLAIN = re.compile(rf"{_HEAD}answer[ \t*_]{{0,4}}:[ \t*_]{{0,4}}", re.I)
_NEEDED = re.compile(rf"{_HEAD}are follow[ \-]?up questions needed", re.I)
_FINAL = re.compile(
    r"\bfinal answer[ \t*_]{0,4}(?:\([^()\n]{0,200}\))?[ \t]{0,3}(?:is\b)?[ \t*_]{0,4}(:?)[ \t*_]{0,4}", re.I
)
_QUESTION = re.compile(rf"{_HEAD}(?:main )?question[ \t*_]{{0,4}}:", re.I | re.M)
_SAID = re.compile(r"\b(?:so the final )?answer[ \t*_]{0,4}(?:is)?[ \t*_]{0,4}:", re.I)
_END = re.compile(r"<\|(?:im_end|endoftext|end_of_text|eot_id|end|eos)\|>|</s>|<eos>|<end_of_turn>")
_BOXED = re.compile(r"\\boxed\{([^{}\n]{1,200})\}")


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The parts of what a model wrote.

    `follow_ups` are (question, intermediate answer), the answer '' where none stands; `answer` is the final answer,
    None where the text has no line of it; `text` is what was read: without thinking and without a next question.
    """

    follow_ups: tuple[tuple[str, str], ...]
    answer: str | None
    text: str


def parse_completion(text: str) -> Parsed:
    """Take a completion apart, however the model spelt it; an answer may hold a colon and may stand on several lines.

    Of several final answers the last counts. What follows an invented next question is not read.
    """
    own = own_part(text)
    follow_ups: list[tuple[list[str], list[str]]] = []
    into: list[str] | None = None
    last: str | None = None
    for line in own.split("\n"):
        if found := _FOLLOW.match(line):
            follow_ups.append(([line[found.end() :]], []))
            into = follow_ups[-1][0]
        elif (found := _PLAIN.match(line)) and follow_ups and follow_ups[-1][1]:
            into, last = None, tidy(line[found.end() :])  # all follow-ups are answered: this is the final answer
        elif (found := _MIDDLE.match(line)) and follow_ups:
            into = follow_ups[-1][1]
            into.append(line[found.end() :])
        elif _FINAL.search(line) or _NEEDED.match(line):
            into = None
        elif into is not None:
            into.append(line)
    told = tuple((_joined(asked), _joined(answered)) for asked, answered in follow_ups)
    final = _final(own)
    answer = last or None if final is None else final
    return Parsed(follow_ups=tuple(pair for pair in told if pair[0]), answer=answer, text=own)


def short_answer(text: str, prompt: str = "") -> str:
    """The answer of a completion that was asked for nothing else: its final answer, else its first line.

    The question with which the prompt ends is no answer: a chat model says it again.
    """
    own, asked = own_part(text), prompt.rpartition("Question:")[2].partition("\n")[0].strip()
    if asked and (bare := own.lstrip("*_> ")).startswith(asked):
        own = bare.removeprefix(asked).lstrip("*_ \n")
    lines = [line for line in own.split("\n") if line.strip()]
    final = _final(own)
    return final if final is not None else tidy(_MIDDLE.sub("", lines[0])) if lines else ""


def own_part(text: str) -> str:
    """The text after thinking aloud, and before a next question that the model invented."""
    own = _END.split(text.rsplit("</think>", 1)[-1], maxsplit=1)[0]
    own = "" if own.lstrip().startswith("<think>") else own.strip()  # a thought that was cut at the limit
    repeated = _QUESTION.match(own)
    if repeated:  # a chat model says the question again before it begins
        line, _, after = own.partition("\n")
        said = _SAID.search(line)  # the answer may stand on the same line
        own = f"{line[said.start() :] if said else ''}\n{after}".strip()
    invented = _QUESTION.search(own)
    return own[: invented.start()].rstrip() if invented else own


def first_hops(text: str, hops: int) -> str:
    """The text up to the follow-up question that would be one too many."""
    starts = [found.start() for found in _FOLLOW.finditer(text)]
    return text[: starts[hops]].rstrip() if len(starts) > hops else text


def tidy(text: str) -> str:
    """An answer without the quotes, marks, box and final stop that are put around it, in any order."""
    bare = text.strip()
    for _ in range(4):
        bare = bare.strip("*_`").strip()
        bare = bare[:-1].rstrip() if bare.endswith(".") and not bare.endswith("..") else bare
        bare = bare[1:-1].strip() if len(bare) > 1 and bare[0] + bare[-1] in ('""', "''", "“”", "``") else bare
        boxed = _BOXED.fullmatch(bare.strip("$"))
        bare = boxed[1].strip() if boxed else bare
    return bare


def _final(own: str) -> str | None:
    """After the last "final answer ... is:" that says one, on its line or, after the last of all, on the next.

    Without any it is what stands in the last box.
    """
    marks = list(_FINAL.finditer(own))
    told = [one for one in marks if one[1]] or marks[-1:]
    lines = own[told[-1].end() :].split("\n") if told else _BOXED.findall(own)[-1:]
    lines += (own[one.end() :].partition("\n")[0] for one in told[-2:-9:-1])
    return next((tidy(line) for line in lines if tidy(line)), None)


def _joined(lines: list[str]) -> str:
    return tidy(" ".join(" ".join(lines).split()))
