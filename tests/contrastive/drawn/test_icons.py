"""Icons of many sets are pairs where their licence is open, and pools of pairs are drawn within one another."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from surefoot.contrastive import ICON_SETS, Drawings, IconPairs, PooledPairs, TrainingPairs, read_captions, read_items
from surefoot.contrastive._drawn import _icons
from surefoot.contrastive._drawn._icons import CLOSED, read_icons
from surefoot.core import Step, Store, StoredInputs, SurefootError, write_record

BODY = '<path fill="#{}" d="M0 0h{}v16H0z"/>'


def told(spdx: str) -> dict[str, object]:
    return {"name": "A set", "author": {"name": "A", "url": "u"}, "license": {"spdx": spdx}}


@pytest.fixture
def package(tmp_path: Path, tarball: Callable[..., Path]) -> Path:
    """Three sets: two open ones that share a drawing, and one that is not for commercial use."""
    one = {f"key-{row}": {"body": BODY.format("f00", row + 1)} for row in range(4)}
    two = {"arrow-left": {"body": BODY.format("00f", 3)}, "key-again": {"body": BODY.format("f00", 1)}}
    aliases = {"arrow-back": {"parent": "arrow-left"}}
    sets = {"one": {"icons": one}, "two": {"icons": two, "aliases": aliases}, "three": {"icons": one}}
    licences = {"one": told("MIT"), "two": told("CC-BY-4.0"), "three": told("CC-BY-NC-4.0")}
    members = {f"package/json/{name}.json": json.dumps(data).encode() for name, data in sets.items()}
    return tarball(tmp_path / "p.tgz", members | {"package/collections.json": json.dumps(licences).encode()})


def test_sets_that_are_not_open_are_refused_and_equal_drawings_taken_once(package: Path) -> None:
    icons, credit = read_icons(package, ("one", "two"), 16)
    assert list(icons) == ["one:key-0", "one:key-1", "one:key-2", "one:key-3", "two:arrow-left"]
    assert [row["licence"] for row in credit] == ["MIT", "CC-BY-4.0"]
    with pytest.raises(SurefootError, match=r"not openly licensed: three \(CC-BY-NC-4.0\)"):
        read_icons(package, ("one", "three"), 16)
    open_ones = ("MIT", "Apache-2.0", "CC-BY-4.0", "CC0-1.0", "ISC", "OFL-1.1", "CC-BY-SA-4.0", "MPL-2.0")
    closed = ("CC-BY-NC-SA-4.0", "GPL-2.0-or-later", "GPL-3.0", "LGPL-3.0", "AGPL-3.0-only")
    assert not any(CLOSED.search(one) for one in open_ones)
    assert all(CLOSED.search(one) for one in closed)
    assert not {"logos", "openmoji", "twemoji", "emojione-v1", "noto"} & {*ICON_SETS}  # none of the styles tested


def test_names_are_captions_and_a_larger_limit_holds_a_smaller(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_icons, "fetch", lambda _: package)
    found = {}
    for limit in (2, 5):
        out = tmp_path / str(limit)
        out.mkdir()
        IconPairs(sets=("one", "two"), limit=limit, size=16).make(out, StoredInputs(Store(tmp_path / "s")))
        found[limit] = dict(zip((item["name"] for item in read_items(out)), read_captions(out), strict=True))
    assert found[2].items() <= found[5].items()
    assert found[5]["two:arrow-left"] == ["arrow left", "arrow back"]
    assert np.load(tmp_path / "5" / "images.npy").shape == (5, 16, 16, 3)
    with pytest.raises(SurefootError, match="limit is 6, and the sets have 5 different drawings"):
        IconPairs(sets=("one", "two"), limit=6, size=16).make(out, StoredInputs(Store(tmp_path / "s")))


def keep(store: Store, step: Step, names: list[str]) -> None:
    place = store.path(step)
    place.mkdir(parents=True)
    np.save(place / "images.npy", np.full((len(names), 8, 8, 3), len(names), np.uint8))
    (place / "captions.json").write_text(json.dumps([[name] for name in names]))
    (place / "items.json").write_text(json.dumps([{"name": name, "style": "s"} for name in names]))
    (place / "credit.json").write_text(json.dumps([{"style": step.key}]))
    write_record(place, step, ())


def test_a_pool_holds_all_sources_but_what_is_tested_on(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    drawings = [Drawings(style=style) for style in ("noto", "twemoji", "openmoji")]
    sources = tuple(TrainingPairs(drawings=(one,)) for one in drawings[:2])
    test = TrainingPairs(drawings=(drawings[2],))
    keep(store, sources[0], [f"a{row}" for row in range(30)])
    keep(store, sources[1], [f"b{row}" for row in range(20)])
    keep(store, test, ["a3", "b4"])

    def pooled(limit: int | None) -> dict[str, list[str]]:
        out = tmp_path / f"out {limit}"
        out.mkdir()
        pool = PooledPairs(sources=sources, without=(test,), limit=limit)
        assert [one.value for one in pool.make(out, StoredInputs(store))] == [limit or 48]
        assert len(np.load(out / "images.npy")) == (limit or 48)
        return dict(zip((item["name"] for item in read_items(out)), read_captions(out), strict=True))

    whole, some, few = pooled(None), pooled(20), pooled(5)
    assert len(whole) == 48 and not {"a3", "b4"} & whole.keys()
    assert few.items() <= some.items() <= whole.items()
    assert {name[0] for name in some} == {"a", "b"}
    with pytest.raises(SurefootError, match="limit is 49: the sources have 48 pairs"):
        PooledPairs(sources=sources, without=(test,), limit=49).make(tmp_path, StoredInputs(store))
