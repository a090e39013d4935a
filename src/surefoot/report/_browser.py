"""Showing a finished page to the person who asked for it."""

import os
import sys
import webbrowser
from pathlib import Path


def open_in_browser(path: Path) -> bool:
    """Open a file in the user's browser; False, and nothing happens, in CI or where there is no display."""
    if os.environ.get("CI") or not _has_display():
        return False
    try:
        return webbrowser.open(path.absolute().as_uri())
    except webbrowser.Error:
        return False


def _has_display() -> bool:
    """Without a display the standard library may start a browser in the terminal, which nobody asked for."""
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
