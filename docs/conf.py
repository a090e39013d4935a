"""Sphinx settings."""

from surefoot import __version__

project = "Surefoot"
author = "The Surefoot developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"Surefoot {release}"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
smartquotes = False  # what is printed here is to be pasted
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_mock_imports = ["torch", "open_clip", "torchvision", "numba"]


def _write_commands(app: object) -> None:
    """The reference of the commands, from the program itself, so that it cannot be out of date."""
    from pathlib import Path

    from surefoot.cli import app as commands

    page = Path(__file__).parent / "reference" / "commands.md"
    page.write_text(commands.generate_docs(heading_level=1, max_heading_level=3), encoding="utf-8")


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", _write_commands)  # type: ignore[attr-defined]
