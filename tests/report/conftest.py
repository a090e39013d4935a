"""The invented study and its report, made once, opened in a browser that has no network."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import laboratory

from surefoot.core import Results, Study
from surefoot.report import write_report


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Results]:
    return laboratory.study_in(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def report(written: tuple[Study, Results], tmp_path_factory: pytest.TempPathFactory) -> Path:
    study, results = written
    return write_report(study, results, tmp_path_factory.mktemp("pages") / "a report #1.html")


@pytest.fixture(scope="session")
def brief(written: tuple[Study, Results], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same report with one figure: it opens faster."""
    study, results = written
    small = replace(study, figures=study.figures[:1])
    return write_report(small, results, tmp_path_factory.mktemp("pages") / "brief.html")


@dataclass
class Opened:
    """A page in the browser, with what it complained about and what it tried to load."""

    page: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture
def opened(chromium: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a file from disk with the network off, and waits until its figures are drawn."""
    contexts = []

    def open_page(path: Path, *, width: int = 1280, anchor: str = "", scripts: bool = True, **options: Any) -> Opened:
        viewport = {"width": width, "height": 900}
        context = chromium.new_context(viewport=viewport, offline=True, java_script_enabled=scripts, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        shown = Opened(context.new_page())
        shown.page.on("console", lambda message: shown.complaints.append(message.text))
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.goto(path.absolute().as_uri() + anchor)
        if scripts:
            shown.page.wait_for_selector("html[data-ready=true]")
        return shown

    yield open_page
    for context in contexts:
        context.close()
