"""The eleven drawing styles of one concept space, and the text that belongs to them."""

from collections.abc import Iterator
from dataclasses import dataclass

from surefoot.core import SurefootError
from surefoot.registry import Package


@dataclass(frozen=True, kw_only=True)
class Style:
    """A set of drawings in one hand: `icons` is the number of drawings in its package, `concepts` of what they show.

    `names_from` is the style whose table of code points this one's names follow where it has none of its own.
    `design` is equal for styles that share their designs: never count them as independent sources. `renamed` are
    drawings whose name would mislead, or that nobody else uses, with the usual English name of what they show.
    """

    name: str
    title: str
    icons: int
    concepts: int
    design: str
    package: Package
    names_from: str = ""
    renamed: tuple[tuple[str, str], ...] = ()


# Found by looking at every drawing beside the same concept in four other styles.
_RENAMED = (
    "2hearts=two hearts; anguish=anguished face; aok=OK hand; blackpushpin=pushpin; blonde=person: blond hair; "
    "bouquetofflowers=bouquet; bow=ribbon; bullhorn=loudspeaker; catside=cat; chilipepper=hot pepper; "
    "construct=construction worker; crying=crying face; dissapointedrelief=sad but relieved face; dogside=dog; "
    "cat=cat face; dog=dog face; down=backhand index pointing down; dragonhead=dragon face; dragonside=dragon; "
    "evergreen=evergreen tree; fallingleaf=fallen leaf; fishcakeswirl=fish cake with swirl; flexbicep=flexed biceps; "
    "frontfacingchick=front-facing baby chick; gma=old woman; gpa=old man; hampster=hamster; "
    "heartarrow=heart with arrow; heartblue=; heartgreen=green heart; heartpurple=purple heart; "
    "heartyellow=yellow heart; heels=high-heeled shoe; keyboard=; leopardside=leopard; "
    "loudlycrying=loudly crying face; manltepiececlock=mantelpiece clock; mensshoe=man’s shoe; "
    "meridianglobe=globe with meridians; monkeyhear=hear-no-evil monkey; monkeysee=see-no-evil monkey; "
    "monkeyspeak=speak-no-evil monkey; mouse=mouse face; mouseside=mouse; pig=pig face; pigside=pig; "
    "pigsnout=pig nose; pout=person pouting; pouting=enraged face; present=wrapped gift; "
    "screamfear=face screaming in fear; spurtingwhale=spouting whale; studiomic=studio microphone; "
    "tennisball=tennis; tiger=tiger face; tigerside=tiger; toykotower=Tokyo tower; up=index pointing up; "
    "videocasette=videocassette; waningbibbousmoon=waning gibbous moon; waving=waving hand; wave=water wave; "
    "window=; winking=winking face; womansshirt=woman’s clothes"
)
_FXEMOJI_NAMES = tuple((name, shown) for name, _, shown in (pair.partition("=") for pair in _RENAMED.split("; ")))


# Licence, author and address.
_MAKERS = {
    "google": ("Apache-2.0", "Google Inc", "https://github.com/googlefonts/noto-emoji"),
    "twitter": ("CC-BY-4.0", "Twitter", "https://github.com/jdecked/twemoji"),
    "openmoji": ("CC-BY-SA-4.0", "OpenMoji", "https://github.com/hfg-gmuend/openmoji"),
    "microsoft": ("MIT", "Microsoft Corporation", "https://github.com/microsoft/fluentui-emoji"),
    "emojitwo": ("CC-BY-4.0", "Emoji One", "https://github.com/EmojiTwo/emojitwo"),
    "emojione": ("CC-BY-SA-4.0", "Emoji One", "https://github.com/joypixels/emojione-legacy"),
    "mozilla": ("Apache-2.0", "Mozilla", "https://github.com/mozilla/fxemoji"),
}
# Name, title, number of drawings, number of concepts, maker, design.
_STYLES = (
    ("noto", "Noto", 3819, 1459, "google", "noto"),
    ("noto-v1", "Noto, first generation", 2162, 1115, "google", "noto-v1"),
    ("twemoji", "Twemoji", 4169, 1721, "twitter", "twemoji"),
    ("openmoji", "OpenMoji", 4579, 1720, "openmoji", "openmoji"),
    ("fluent-emoji", "Fluent, three-dimensional", 3174, 1413, "microsoft", "fluent"),
    ("fluent-emoji-flat", "Fluent, flat", 3174, 1413, "microsoft", "fluent"),
    ("fluent-emoji-high-contrast", "Fluent, black and white", 1594, 1413, "microsoft", "fluent"),
    ("emojione", "EmojiOne 2", 1834, 1320, "emojitwo", "emojione"),
    ("emojione-monotone", "EmojiOne 2, line drawings", 1403, 1310, "emojitwo", "emojione"),
    ("emojione-v1", "EmojiOne 1", 1262, 1125, "emojione", "emojione-v1"),
    ("fxemoji", "FxEmoji", 1034, 724, "mozilla", "fxemoji"),
)
# Name, version, size in bytes and SHA-256 of each package.
_PACKAGES = """
noto 1.2.9 3102958 3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad
noto-v1 1.2.5 1587591 2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37
twemoji 1.2.5 1555888 19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7
openmoji 1.2.29 1264633 03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5
fluent-emoji 1.2.7 14323330 8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b
fluent-emoji-flat 1.2.6 1172438 7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175
fluent-emoji-high-contrast 1.2.6 1054969 0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0
emojione 1.2.3 687690 26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e
emojione-monotone 1.2.1 1094642 40b90004bafb406b59266155ef9b7e1dd67bf2947fc8db8d07388776f4d0d04e
emojione-v1 1.2.3 3704153 6641d59d48a42823fdc2b84e7427e9f302944eb98d2c7d94d6e67c139e7b37b3
fxemoji 1.2.2 1034876 f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef
"""


def _styles() -> Iterator[Style]:
    for (name, title, icons, concepts, maker, design), line in zip(_STYLES, _PACKAGES.split("\n")[1:-1], strict=True):
        package, version, size, sha256 = line.split()
        licence, author, url = _MAKERS[maker]
        yield Style(
            name=name,
            title=title,
            icons=icons,
            concepts=concepts,
            design=design,
            names_from="fluent-emoji-flat" if name == "fluent-emoji" else "",
            renamed=_FXEMOJI_NAMES if name == "fxemoji" else (),
            package=Package(
                registry="npm",
                name=f"@iconify-json/{package}",
                version=version,
                sha256=sha256,
                size=int(size),
                licence=licence,
                author=author,
                url=url,
            ),
        )


STYLES: dict[str, Style] = {style.name: style for style in _styles()}
"""The drawing styles by name."""

EMOJIBASE = Package(
    registry="npm",
    name="emojibase-data",
    version="17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    size=6711091,
    licence="MIT",
    author="Miles Johnson",
    url="https://github.com/milesj/emojibase",
)
"""Labels, tags, groups and subgroups of the concepts in 28 languages."""


def style(name: str) -> Style:
    """The drawing style of a name. Raises `SurefootError` with the names there are for an unknown one."""
    if name not in STYLES:
        raise SurefootError(f"There is no drawing style '{name}'. There are: {', '.join(STYLES)}.")
    return STYLES[name]
