"""The report of a scrutiny as a court gets it: printed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from surefoot.report import write_scrutiny
from surefoot.scrutiny import verify_bundle

BROKEN = """() => [...document.querySelectorAll('th')].filter(one => {
  const words = document.createRange(), inside = one.querySelector('button') || one
  return [...inside.childNodes].filter(node => node.nodeType === 3).some(node =>
    [...node.textContent.matchAll(/\\S+/g)].some(word => {
      words.setStart(node, word.index); words.setEnd(node, word.index + word[0].length)
      return words.getClientRects().length > 1 }))
}).map(one => one.textContent)"""


CUT = """() => [...document.querySelectorAll('td')].map(one => {
  const inside = document.createRange()
  inside.selectNodeContents(one)
  return [one, inside]
}).filter(([one, inside]) => {
  return one.scrollWidth > one.clientWidth + 1 || inside.getBoundingClientRect().right > innerWidth
}).map(([one]) => one.textContent)"""


def test_no_cell_is_cut_off_on_paper_of_many_claims_with_long_details(
    chromium: Any, sealed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    verified = verify_bundle(sealed[0])
    claims = [{**one, "name": f"{one['name']}, {n}"} for one in sealed[1]["claims"] for n in range(4)]
    many = {name: f"{n} of 100" for n, name in enumerate("a group of some name " + letter for letter in "abcdef")}
    claims[0] = {**claims[0], "samples": [{**one, "detail": many} for one in claims[0]["samples"]]}
    told = replace(verified, findings={**verified.findings, "claims": claims})
    page = chromium.new_page(viewport={"width": 718, "height": 1047})
    page.goto(write_scrutiny(told, tmp_path / "page.html", source="toy").as_uri())
    assert page.evaluate(CUT.replace("> innerWidth", "> 1e9")) == []  # on a screen the table scrolls
    page.emulate_media(media="print")
    assert page.evaluate(CUT) == []


def test_it_prints_whole_on_paper_and_breaks_no_word_of_a_heading(
    chromium: Any, sealed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    path = write_scrutiny(verify_bundle(sealed[0]), tmp_path / "page.html", source="toy")
    page = chromium.new_page(viewport={"width": 718, "height": 1047})  # A4 within margins of a centimetre
    page.goto(path.as_uri())
    page.emulate_media(media="print")
    printed = page.locator("main").inner_text()
    claims = [one["sentence"] for one in sealed[1]["claims"]]
    for said in (*claims, "transposed conditional", "Questions for cross-examination", "SHA-256", "toy population"):
        assert said in printed
    assert page.locator("figure img.still").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.evaluate(BROKEN) == []
    made = page.pdf(format="A4")
    assert made.startswith(b"%PDF") and made.count(b"/Type /Page\n") >= 3
