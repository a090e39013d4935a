"""The drawing library: the same text from the cache as without one, and safe inside a script element."""

from pathlib import Path

import pytest

from surefoot.report._bundle import drawing_library, inline_script


def test_it_is_kept_in_the_cache_and_a_cache_that_cannot_be_written_is_done_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make = drawing_library.__wrapped__
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUREFOOT_CACHE", str(tmp_path / "file" / "cache"))
    without = make()
    monkeypatch.setenv("SUREFOOT_CACHE", str(tmp_path / "cache"))
    assert make() == without
    assert [path.suffix for path in (tmp_path / "cache" / "report").iterdir()] == [".js"]
    assert make() == without
    assert "vegaEmbed" in without
    assert "</script" not in without


def test_nothing_in_a_script_can_end_its_element() -> None:
    assert inline_script("a = '</script><!-- b'") == "a = '<\\/script>\\x3C!-- b'"
