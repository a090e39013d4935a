"""Which concept a drawing shows: by the set's own table of code points, else by its names."""

import re
from collections.abc import Iterable, Mapping

from surefoot.contrastive._drawn._concepts import compact_name, normal_hexcode
from surefoot.contrastive._drawn._iconify import Icon

_FLAG = re.compile("^flag-for-(?:flag-)?")


def hexcodes_of(
    icons: Iterable[Icon], code_points: Mapping[str, str], names: Mapping[str, str], renamed: Mapping[str, str]
) -> dict[str, str]:
    """The hexcode of every drawing that can be told, by the drawing's name; each hexcode goes to one drawing.

    `code_points` maps code points to names of drawings and is exact; without it `names` (compact English names to
    hexcodes) decides, a drawing's own name before its aliases, with the corrections of `renamed`. Drawings that the
    makers dropped come last.
    """
    ordered = sorted(icons, key=lambda icon: icon.hidden)
    by_name = {name: icon.name for icon in ordered for name in icon.names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    pairs = (
        [(by_name[name], normal_hexcode(code)) for code, name in code_points.items() if name in by_name]
        if code_points
        else list(_guesses(ordered, names, renamed))
    )
    for name, hexcode in pairs:
        if name not in found and hexcode not in taken:
            found[name] = hexcode
            taken.add(hexcode)
    return found


def _guesses(icons: Iterable[Icon], names: Mapping[str, str], renamed: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Kept drawings by their own names, then by their aliases, and then the dropped ones."""
    tries = [(icon.hidden, place > 0, icon.name, name) for icon in icons for place, name in enumerate(icon.names)]
    for _, _, drawing, name in sorted(tries, key=lambda attempt: attempt[:2]):
        if hexcode := names.get(compact_name(renamed.get(name, _FLAG.sub("flag-", name)))):
            yield drawing, hexcode
