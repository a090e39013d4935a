"""Reading an icon set (`icons.json` of the iconify schema) into complete SVG documents."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot.core import SurefootError
from surefoot.registry import read_members

_MAX_ALIAS_DEPTH = 8
_BOX = {"left": 0, "top": 0, "width": 16, "height": 16}


@dataclass(frozen=True, kw_only=True)
class Icon:
    """One drawing: `names` are its own name and then its aliases, `svg` a document fitted into a square.

    `hidden` drawings are those that the set's makers dropped and the package keeps for old users.
    """

    names: tuple[str, ...]
    svg: str
    hidden: bool = False

    @property
    def name(self) -> str:
        return self.names[0]


@dataclass(frozen=True, kw_only=True)
class IconSet:
    """The drawings of a package and its table of code points (hexadecimal, hyphenated) to names; it may be empty."""

    icons: tuple[Icon, ...]
    code_points: dict[str, str]


def read_icon_set(package: Path, *, size: int) -> IconSet:
    """Read a package of one icon set; the documents ask for `size` x `size` pixels.

    An alias with a transformation (mirrored, turned) is a drawing of its own; any other is another name of its parent.
    Raises `SurefootError` when the package does not follow the schema.
    """
    members = read_members(package, ["package/icons.json", "package/chars.json"])
    try:
        data = json.loads(members["package/icons.json"])
        code_points = json.loads(members["package/chars.json"])
        return IconSet(icons=tuple(icons_of(data, size)), code_points=code_points)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SurefootError(f"{package} is not an icon set in the iconify schema: {error!r}.") from error


def icons_of(data: dict[str, Any], size: int) -> Iterator[Icon]:
    """The drawings of a set in the iconify schema; the documents ask for `size` x `size` pixels."""
    defaults = _BOX | {name: data[name] for name in _BOX if name in data}
    aliases = data.get("aliases", {})
    resolved = {name: _resolve(name, data["icons"], aliases) for name in [*data["icons"], *aliases]}
    drawn: dict[str, list[str]] = {}
    for name in resolved:
        drawn.setdefault(_origin(name, data), []).append(name)
    for name, names in drawn.items():
        icon = resolved[name]
        yield Icon(names=tuple(names), svg=_document(defaults | icon, size), hidden=bool(icon.get("hidden", False)))


def _origin(name: str, data: dict[str, Any]) -> str:
    """The drawing that a name stands for: the end of its chain of mere renamings."""
    while name not in data["icons"] and not data["aliases"][name].keys() - {"parent", "hidden"}:
        name = data["aliases"][name]["parent"]
    return name


def _resolve(name: str, icons: dict[str, Any], aliases: dict[str, Any], depth: int = 0) -> dict[str, Any]:
    """The drawing behind a name, with the transformations along its chain of aliases put together."""
    if name in icons:
        return icons[name]
    if depth == _MAX_ALIAS_DEPTH:
        raise ValueError(f"the aliases of '{name}' go round in a circle")
    own = aliases[name]
    parent = _resolve(own["parent"], icons, aliases, depth + 1)
    merged = parent | {key: value for key, value in own.items() if key != "parent"}
    for flip in ("hFlip", "vFlip"):
        merged[flip] = bool(parent.get(flip)) != bool(own.get(flip))
    return merged | {"rotate": (parent.get("rotate", 0) + own.get("rotate", 0)) % 4}


def _document(icon: dict[str, Any], size: int) -> str:
    """A complete SVG: the drawing's box is moved to the origin, mirrored, turned, and fitted into a square."""
    left, top, width, height = (float(icon[name]) for name in _BOX)
    quarter_turns = int(icon.get("rotate", 0)) % 4
    body = icon["body"]
    if quarter_turns or icon.get("hFlip") or icon.get("vFlip"):
        scale = f"{-1 if icon.get('hFlip') else 1} {-1 if icon.get('vFlip') else 1}"
        centre = f"{-left - width / 2} {-top - height / 2}"
        body = f'<g transform="rotate({90 * quarter_turns}) scale({scale}) translate({centre})">{body}</g>'
        width, height = (height, width) if quarter_turns % 2 else (width, height)
        left, top = -width / 2, -height / 2
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left:g} {top:g} {width:g} {height:g}" width="{size}" height="{size}">{body}</svg>'
    )
