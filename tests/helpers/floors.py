"""Who imports whom, read off the code: the floors of the packages."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("data_prep", "methods", "workflow")
# Ground first. What shares a floor does not import each other, but for the files of the ground.
FLOORS = {
    "data_prep": (
        ("errors", "words", "seeds", "fourier", "measurement"),
        ("io",),
        ("volumes", "contracts"),
        ("registration",),
        ("phantom",),
        ("datasets",),
        ("prepare", "masks"),
        ("undersample",),
        ("check", "check_dataset", "check_mask"),
    ),
    "workflow": (
        ("metrics",),
        ("provenance",),
        ("run", "papers"),
        ("plan",),
        ("evaluate", "statistics"),
        ("train",),
        ("tables", "figures"),
        ("claims", "trust", "cost", "tune"),
        ("page",),
        (
            *("lease", "verify", "summary", "compare", "estimate", "check_metric", "plugins", "subset"),
            *("export", "draw", "predict", "score", "weights", "check_paper", "new_paper"),
        ),
    ),
}
GROUND = FLOORS["data_prep"][0]


@cache
def imports() -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """The files of the packages, each with the files that it imports and the lines where it does.

    Imports within functions count, those of a package alone do not: its __init__ is a docstring.
    """
    files = chain.from_iterable((ROOT / package).rglob("*.py") for package in PACKAGES)
    return {path.relative_to(ROOT).as_posix(): _imports(path) for path in sorted(files)}


def _imports(path: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
            assert node.module is not None
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = f"{name.replace('.', '/')}.py"
            if name.split(".")[0] in PACKAGES and (ROOT / file).is_file():
                found[file] = (*found.get(file, ()), node.lineno)
    return found


def part(file: str) -> str:
    """The folder or the file at the top of a package that a file belongs to; "" for a package's __init__."""
    name = Path(file).parts[1]
    return "" if name == "__init__.py" else name.removesuffix(".py")


def parts(package: str) -> set[str]:
    """Every folder and every file at the top of a package, by name."""
    return {part(file) for file in imports() if file.startswith(f"{package}/")} - {""}


def floor(package: str, name: str) -> int:
    return next(number for number, names in enumerate(FLOORS[package]) if name in names)


def arrows(package: str) -> Iterator[tuple[str, str, str]]:
    """Imports between two parts of a package: who, whom, and where it is written."""
    for file, targets in imports().items():
        for target, lines in targets.items():
            here, there = part(file), part(target)
            if file.startswith(f"{package}/") and target.startswith(f"{package}/") and here != there:
                yield here, there, f"{file}:{lines[0]} imports {target}"


def upwards(package: str) -> list[str]:
    """Imports from a floor above or from beside, but for files of the ground."""
    return [
        where
        for here, there, where in arrows(package)
        if floor(package, there) >= floor(package, here) and not {here, there} <= set(GROUND)
    ]


def plug_in(file: str) -> str | None:
    """The method, dataset, family of masks or metric that a file is part of, by its path; else None."""
    found = re.match(
        r"(methods/\w+/"
        r"|data_prep/datasets/\w+/"
        r"|data_prep/masks/families/(?!__)\w+\.py$"
        r"|workflow/metrics/library/(?!__)\w+\.py$)",
        file,
    )
    return found and found[0]


def circles(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes of a graph that reach themselves."""

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            node = waiting.pop()
            if node not in found:
                found.add(node)
                waiting.extend(graph.get(node, ()))
        return found

    return sorted(node for node in graph if node in reached(node))
