"""Showing a finished page to the person who asked for it."""

import os
import sys
import webbrowser
from pathlib import Path


def open_in_browser(place: Path | str) -> bool:
    """Open a file or an address in the user's browser; False, and nothing happens, in CI or without a display."""
    # Without a display the standard library may start a browser in the terminal, which nobody asked for.
    displays = sys.platform in ("darwin", "win32") or any(
        map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
    )
    if os.environ.get("CI") or not displays:
        return False
    try:
        return webbrowser.open(place if isinstance(place, str) else place.absolute().as_uri())
    except webbrowser.Error:
        return False
