"""The digest that stands for a user's file or folder in a key."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from surefoot.core import SurefootError, digest_of, write_text


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_the_digest_of_a_file_is_the_sha256_of_its_bytes_wherever_it_lies(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"abc")
    assert digest_of(tmp_path / "a") == digest_of(tmp_path / "b")
    # FIPS 180-2, appendix B.1
    assert digest_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_digest_of_a_folder_counts_names_and_contents_below_it_and_nothing_else(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, order in ((one, ("b", "a/x", "a.y")), (other, ("a.y", "b", "a/x"))):
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode() * 2)
    told = "".join(f"{name}\0{sha256(name.encode() * 2)}\n" for name in ("a.y", "a/x", "b"))
    assert digest_of(one) == digest_of(other) == sha256(told.encode())
    (other / "b").rename(other / "c")
    renamed = digest_of(other)
    (other / "c").write_bytes(b"bB")
    assert len({digest_of(one), renamed, digest_of(other)}) == 3


def test_what_a_link_in_a_folder_leads_to_counts(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "real" / "deep" / "file").write_text("1")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "deep").symlink_to(tmp_path / "real" / "deep")
    assert digest_of(tmp_path / "linked") == digest_of(tmp_path / "real")


def test_a_name_that_is_no_utf8_has_a_digest(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff", "w", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write("1")
    assert digest_of(tmp_path) == sha256(b"\xff\0" + sha256(b"1").encode() + b"\n")


def test_what_has_no_digest_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "link").symlink_to(tmp_path / "gone")
    os.mkfifo(tmp_path / "pipe")
    for name, message in (
        ("gone", r"gone does not exist\."),
        ("empty", r"The folder .*empty holds no files\."),
        ("broken", r"link does not exist\."),
        ("pipe", r"pipe is neither a file nor a folder\."),
    ):
        with pytest.raises(SurefootError, match=message):
            digest_of(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1")
    (tmp_path / "secret").chmod(0)
    with pytest.raises(SurefootError, match=r"secret cannot be read: Permission denied\."):
        digest_of(tmp_path / "secret")


def test_a_file_is_written_through_a_link_and_never_over_what_is_no_file(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("real")
    write_text(link, "one")
    assert link.is_symlink()
    assert (tmp_path / "real").read_text() == "one"
    (tmp_path / "loop").symlink_to("loop")
    for name in (tmp_path / "loop", tmp_path, Path("/dev/full")):
        with pytest.raises(SurefootError, match="cannot be written: it is a"):
            write_text(name, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "loop", "real"]


def test_a_pipe_and_standard_output_take_a_text_as_it_comes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_text)
        write_text(pipe, "one")
        assert read.result() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]
    print("before")
    write_text(Path("/dev/stdout"), "after\n")
    assert capfd.readouterr().out == "before\nafter\n"


def test_a_text_with_what_utf8_cannot_hold_is_written_with_its_escape(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", json.dumps(os.fsdecode(b"caf\xe9.png \xc3\xa9"), ensure_ascii=False))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '"caf\\udce9.png \u00e9"'
    assert os.fsencode(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == b"caf\xe9.png \xc3\xa9"
