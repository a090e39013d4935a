"""Captions: several sentences a picture could go with, from its name to the class it belongs to."""

from collections.abc import Mapping

from surefoot.contrastive._drawn._concepts import Emoji

_MOST_TAGS = 8


def captions(emoji: Emoji, words: Mapping[str, str]) -> list[str]:
    """Alternative captions of one picture, each once, from the most particular to the most general.

    `words` are the words for group and subgroup keys. A model that is trained on a random one of them each time learns
    the names of the classes, so that it can name a concept it never saw.
    """
    label, tags = emoji.label, ", ".join(emoji.tags[:_MOST_TAGS])
    subgroup, group = words.get(emoji.subgroup, ""), words.get(emoji.group, "")
    parts = ((label,), (label, subgroup), (label, tags), (tags,), (tags, subgroup), (subgroup,), (subgroup, group))
    return list(dict.fromkeys(text for part in parts if (text := ", ".join(filter(None, part)))))
