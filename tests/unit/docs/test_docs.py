"""Links between the pages lead somewhere, the site has every page, and its pictures stay small."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[3]
PATTERNS = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
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


def programs(page: Path) -> Iterator[str]:
    yield from re.findall(
        r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(programs(page))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_programs_on_a_page_import_what_is_there(page: Path) -> None:
    # What the page itself writes is imported where a test follows it.
    written = re.findall(r"^`([\w/]+)\.py`$", page.read_text(encoding="utf-8"), re.MULTILINE)
    for program in programs(page):
        for node in ast.walk(ast.parse(program)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                if node.module.replace(".", "/") in written:
                    continue
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)


# Files, and folders, which end with a stroke.
NAMED = re.compile(
    r"`((?:data_prep|docs|methods|workflow|tests|config|profiles)/(?:[A-Za-z0-9_./-]+(?:\.[a-z0-9]+|/))?)`"
)


# The guides name files that their reader makes, and are followed word for word by tests of their own; the
# changelog names what is gone.
@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if not page.name.startswith(("adding_a_", "CHANGELOG"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    assert not missing
    commands = re.findall(r"python -m ((?:data_prep|methods|workflow|tests)(?:\.\w+)*)", text)
    assert not [name for name in commands if not _runs(name)]


def _runs(module: str) -> bool:
    path = ROOT / module.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


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
