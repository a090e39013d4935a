"""Numbered layers in the names of tensors, and what stands before and after them."""

import re
import warnings
from collections.abc import Iterable, Mapping

from surefoot.core import SurefootError

_LAYER = re.compile(r"^(.*?\b(?:layers|layer|h|blocks|block|resblocks)\.)(\d+)(\..*)$")
# What a model computes before its first layer; an `embed_out` or `unembed` comes last.
_BEFORE = re.compile(
    r"(?<!un)embed(?!_out)|embd|\bemb\b|wte|wpe|relative_pe|rotary|inv_freq|conv1|conv2|patch|positional|class_|ln_pre"
    r"|layernorm_pre|stem"
)
_AFTER = re.compile(
    r"norm|ln_|\.ln\.|head|classif|pooler|output|score|proj|logit|vocab|embed_out|unembed|predictions|adapter"
)
_HEADS = re.compile(r"(?:^|\.)(?:lm_head|embed_out|text_projection|score)\.")  # of the tower that gives words
_IMAGE_HEADS = re.compile(r"(?:^|\.)(?:visual|vision|image)_projection\.")
_NO_WORDS = re.compile(r"vis|image|video|audio|encoder")
_NUMBERED_ENDS = re.compile(r"\.(?:wte|wpe|embd|lm_head|linear)\.")  # of layers that are none (phi-1)


def numbered(name: str) -> tuple[str, int, str]:
    """What stands before the number of the layer in a name, the number, and what follows; -1 where there is none."""
    found = _LAYER.match(name)
    return (found[1], int(found[2]), found[3]) if found else (name, -1, "")


def towers(names: Iterable[str]) -> dict[str, int]:
    """How many layers each tower has, by what stands before the numbers in names."""
    found: dict[str, int] = {}
    for head, layer, _ in map(numbered, names):
        if layer >= 0:
            found[head] = max(found.get(head, 0), layer + 1)
    return found


def tower_of(names: Iterable[str], named: str | None, where: str) -> str:
    """The tower whose layers a layer_range counts: the only one, or the one that is named (`visual.blocks`)."""
    known = towers(listed := list(names))
    if named is not None:
        tower = named.rstrip(".") + "."
        if tower not in known:
            raise SurefootError(f"{where} has no tower {named!r} (key layers); it has {_listed(known)}.")
    elif len(known) == 1:
        (tower,) = known
    else:
        raise SurefootError(
            f"{where} has {'several towers' if known else 'no numbered layers'}, so that a layer_range says nothing; "
            f"name the tower that it counts with the key layers: {_listed(known)}."
        )
    if ends := [name for name in listed if numbered(name)[0] == tower and _NUMBERED_ENDS.search(numbered(name)[2])]:
        raise SurefootError(f"{where} numbers {ends[0]!r} among its layers; it cannot be sliced by layer_range.")
    return tower


def _listed(known: Mapping[str, int]) -> str:
    return ", ".join(f"{head.rstrip('.')} ({count} layers)" for head, count in known.items()) or "none"


def first_names(names: Iterable[str], tower: str, *, said: bool = True) -> set[str]:
    """Of the tensors outside a tower's layers those that the first slice gives, not the last.

    They are what is computed before the first layer and, where there are several towers, all that is not the tower's
    own: under its beginning (`visual.`) when anything is, else under that of no other; a head outside of all is
    that of words (a text tower's, a decoder's) or of images. With `said` a warning names those whose name says nothing.
    """
    outer = [name for name in names if numbered(name)[0] != tower]
    found = {name for name in outer if _BEFORE.search(name)}
    others = [head for head in towers(outer) if head != tower]
    owned = {name for name in outer if any(name.startswith(_own(tower, other)) for other in others)}
    foreign = {name for name in outer if any(name.startswith(_own(other, tower)) for other in others)}
    words = not _NO_WORDS.search(tower) or ("text" in tower and not any("decoder" in other for other in others))
    heads = _HEADS if words else _IMAGE_HEADS if re.search("vis|image", tower) else None
    owned |= {name for name in outer if name not in foreign and heads.search(f"{name}.")} if owned and heads else set()
    placed = {name for name in outer if _AFTER.search(name)} | found | owned | foreign
    for name in [name for name in outer if said and name not in placed]:
        told = f"The tensor {name!r} stands by its name neither before nor after the layers: the last slice gives it."
        warnings.warn(told, stacklevel=4)
    return found | ((set(outer) - owned) if owned - foreign else foreign)


def _own(head: str, other: str) -> str:
    # The shortest beginning of a tower's names that the other tower's do not have: model.encoder. and model.decoder.
    parts = head.split(".")
    count = next((place for place, part in enumerate(parts) if [part] != other.split(".")[place : place + 1]), 0)
    return ".".join(parts[: count + 1]) + "."
