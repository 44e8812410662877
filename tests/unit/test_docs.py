"""Links between the pages lead somewhere, the site has every page, and its pictures stay small."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[2]
PATTERNS = (
    "README.md",
    "docs/*.md",
    "config/*.md",
    "results/README.md",
    "results/reference/README.md",
    "THIRD_PARTY_LICENCES/README.md",
    "methods/[!_]*/README.md",
)
PAGES = sorted(path for pattern in PATTERNS for path in ROOT.glob(pattern))
LARGEST = 400_000  # bytes of one picture


def text_of(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" not in target:
            yield target


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    return {slugify(re.sub(r"[`*\\]", "", heading), "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(target), link


def named(entry: Any) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    else:
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from named(value)


def test_the_site_has_every_page_once() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    listed = list(named(site["nav"]))
    assert sorted(listed) == [page.relative_to(ROOT).as_posix() for page in PAGES]
    assert site["strict"] is True


def test_every_picture_is_shown_and_small() -> None:
    gallery = ROOT / "docs" / "gallery.md"
    shown = {link for link in links(gallery) if link.startswith("images/")}
    there = {f"images/{path.name}" for path in (ROOT / "docs" / "images").iterdir()}
    assert there
    assert shown == there
    for name in there:
        assert (ROOT / "docs" / name).stat().st_size <= LARGEST, name
