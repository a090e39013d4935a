"""Files of the user are known by their contents: a store that is copied to another place still answers."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot.contrastive import ImageFolder
from surefoot.core import SurefootError, check_pinned, from_spec, to_spec
from surefoot.laws import TableScaling
from surefoot.tabular import FileTable


def test_the_same_file_in_another_place_is_the_same_step(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "t.csv").write_text("x,y,model,sex\n1,2,m,f\n2,1,n,m\n")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for make in (
        lambda path: TableScaling(path=path, x="x", y="y", label="model"),
        lambda path: FileTable(path=path, label="y", sensitive=("sex",)),
    ):
        first, second = (make(str(tmp_path / place / "t.csv")).pinned() for place in "ab")
        assert first.key == second.key
        assert first.path != second.path


def test_a_step_without_a_digest_or_with_changed_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,y,model\n1,2,m\n")
    law = TableScaling(path=str(path), x="x", y="y", label="model")
    with pytest.raises(SurefootError, match=r"has no digest of its files: write TableScaling\(...\).pinned\(\)"):
        check_pinned(law)
    check_pinned(law.pinned())
    with pytest.raises(SurefootError, match="have changed since their digest was taken"):
        check_pinned(replace(law.pinned(), digest="0" * 64))


def test_where_a_file_lies_travels_with_the_step(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a.png").write_bytes(b"not looked into")
    folder = ImageFolder(path=str(tmp_path)).pinned()
    assert from_spec(to_spec(folder)) == folder
    assert from_spec(to_spec(folder)).path == str(tmp_path)  # type: ignore[attr-defined]
