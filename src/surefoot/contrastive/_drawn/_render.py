"""Drawing SVG documents of unknown makers: they are checked first, and never reach a file or the network."""

import io
import re
from xml.etree import ElementTree

import numpy as np

from surefoot.core import SurefootError

MAX_CHARACTERS = 4 << 20
MAX_ELEMENTS = 50_000
MAX_REFERENCES = 2_000
# The drawing library's stack ends somewhere between 128 and 256 groups within one another, references followed.
MAX_DEPTH = 16
MAX_REFERENCE_DEPTH = 6
_WHITE = 250

_SHAPES = "svg g defs symbol use path circle ellipse rect line polyline polygon title desc clipPath mask pattern switch"
_PAINT = "linearGradient radialGradient stop filter"
_FILTERS = (
    "feBlend feColorMatrix feComponentTransfer feComposite feFlood feFuncA feFuncB feFuncG feFuncR feGaussianBlur "
    "feMerge feMergeNode feMorphology feOffset feDropShadow"
)
ALLOWED_ELEMENTS = frozenset(f"{_SHAPES} {_PAINT} {_FILTERS}".split())
"""What a drawing may be made of: no scripts, no style sheets, no text, no embedded pictures, no foreign content."""

_URL = re.compile(r"url\(\s*+['\"]?+\s*+(?!#)", re.IGNORECASE)
_OWN_URL = re.compile(r"url\(\s*['\"]?\s*#([^'\")]*?)\s*['\"]?\s*\)", re.IGNORECASE)


class RefusedDrawingError(SurefootError):
    """A drawing that is refused, with the reason."""


def check_svg(svg: str) -> None:
    """Refuse a document that is too large or that points outside itself. Raises `RefusedDrawingError`."""
    if len(svg) > MAX_CHARACTERS:
        raise RefusedDrawingError(f"it has {len(svg):,} characters; {MAX_CHARACTERS:,} are allowed")
    if "<!" in svg or "<?" in svg:
        raise RefusedDrawingError("it declares a document type, an entity, or a processing instruction")
    try:
        root = ElementTree.fromstring(svg)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        raise RefusedDrawingError(f"it is not well-formed XML ({error})") from error
    _check_depth(root)
    elements = list(root.iter())
    if len(elements) > MAX_ELEMENTS:
        raise RefusedDrawingError(f"it has {len(elements):,} elements; {MAX_ELEMENTS:,} are allowed")
    for element in elements:
        _check_element(element)
    _check_references(elements)


def render(svg: str, size: int) -> np.ndarray:
    """Draw a checked document on white: an array of (`size`, `size`, 3) uint8 in sRGB.

    The document's own width and height must be `size`. Raises `RefusedDrawingError` when it is refused or cannot be
    drawn.
    """
    from PIL import Image

    png = render_png(svg)
    with Image.open(io.BytesIO(png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    if pixels.shape != (size, size, 3):
        raise RefusedDrawingError(f"it was drawn as {pixels.shape[1]} x {pixels.shape[0]} pixels, not {size} x {size}")
    if pixels.min() >= _WHITE:
        raise RefusedDrawingError("it is blank: white on white")
    return pixels


def render_png(svg: str) -> bytes:
    import resvg_py

    check_svg(svg)
    try:
        return resvg_py.svg_to_bytes(svg_string=svg, background="#ffffff", skip_system_fonts=True)
    except ValueError as error:
        raise RefusedDrawingError(f"it cannot be drawn ({error})") from error


def _check_depth(root: ElementTree.Element) -> None:
    level = [root]
    for _ in range(MAX_DEPTH):
        level = [inner for element in level for inner in element]
    if level:
        raise RefusedDrawingError(f"its elements lie more than {MAX_DEPTH} deep")


def _check_element(element: ElementTree.Element) -> None:
    name = _local(element.tag)
    if name not in ALLOWED_ELEMENTS:
        raise RefusedDrawingError(f"it has a <{name}> element")
    for key, value in element.attrib.items():
        attribute = _local(key)
        if attribute == "href" and not value.lstrip().startswith("#"):
            raise RefusedDrawingError(f"it refers to something outside itself ({value[:60]})")
        if "\\" in value or ("(" in value and _URL.search(value)):
            raise RefusedDrawingError(f"the attribute {attribute} refers to something outside itself ({value[:60]})")
        if attribute.startswith("on"):
            raise RefusedDrawingError(f"it has an event handler ({attribute})")


def _check_references(elements: list[ElementTree.Element]) -> None:
    """Refuse references that multiply: what is referred to may hold further ones, and each pass of a filter costs."""
    named = {element.get("id", ""): element for element in elements if element.get("id")}
    held = {name: _targets(element) for name, element in named.items()}
    costs = {name: 1 + sum(_local(inner.tag).startswith("fe") for inner in named[name].iter()) for name in named}
    total = 0
    waiting = [(target, 1) for element in elements[:1] for target in _targets(element)]
    while waiting:
        target, depth = waiting.pop()
        total += costs.get(target, 1)
        if total > MAX_REFERENCES or depth > MAX_REFERENCE_DEPTH:
            raise RefusedDrawingError("its references multiply without bound")
        waiting.extend((inner, depth + 1) for inner in held.get(target, ()))


def _targets(element: ElementTree.Element) -> list[str]:
    """What an element and those below it refer to: other elements to repeat, to paint, mask or filter with."""
    attributes = [item for inner in element.iter() for item in inner.attrib.items()]
    links = [value.strip()[1:] for key, value in attributes if _local(key) == "href"]
    return links + [target for _, value in attributes if "url(" in value for target in _OWN_URL.findall(value)]


def _local(name: str) -> str:
    return name.rpartition("}")[2]
