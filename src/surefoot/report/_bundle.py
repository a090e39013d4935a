"""The drawing library of a page, as one script that loads nothing."""

from contextlib import suppress
from functools import cache
from importlib.metadata import version

from surefoot.core import SurefootError, write_text
from surefoot.figures import VEGA_LITE_VERSION
from surefoot.registry import cache_directory

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def drawing_library() -> str:
    """Vega, Vega-Lite and Vega-Embed from vl-convert, for an inline script; it sets `window.vegaEmbed`.

    Bundling takes seconds, so the text is kept in the user's cache, by version. A cache that cannot be written is
    done without.
    """
    from vl_convert import javascript_bundle

    kept = cache_directory() / "report" / f"vega-{version('vl-convert-python')}-{VEGA_LITE_VERSION}.js"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    text = inline_script(f"(function(){{{javascript_bundle(_SNIPPET, vl_version=VEGA_LITE_VERSION)}}})();")
    with suppress(OSError, SurefootError):  # no such place, no permission, or a full disk
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_text(kept, text)
    return text


def inline_script(text: str) -> str:
    """The script with nothing in it that would end or confuse the element around it."""
    return text.replace("</script", "<\\/script").replace("<!--", "\\x3C!--")
