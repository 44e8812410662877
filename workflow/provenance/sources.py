"""Which source files a step depends on, so that editing one re-runs what it changes and nothing else.

Snakemake does not look into modules that a ``python -m`` command imports; every rule therefore
declares them as inputs.
"""

import ast
from collections.abc import Iterable, Iterator, Set
from functools import cache
from pathlib import Path

from data_prep.contracts.discovery import sources_in
from methods.registry import installed_methods

ROOT = Path(__file__).parents[2]
RESOURCES = ROOT / "workflow/resources"
PACKAGES = ("data_prep", "methods", "workflow")
# Options, wording of errors, locks, reading and writing whole files, discovery of folders change no number.
_WITHOUT_EFFECT = {
    "data_prep/contracts/discovery.py",
    "data_prep/errors.py",
    "data_prep/io/command.py",
    "data_prep/io/files.py",
    "data_prep/io/json_files.py",
    "data_prep/io/locks.py",
    "data_prep/io/schemas.py",
    "data_prep/io/yaml_files.py",
    "data_prep/words.py",
    "methods/registry.py",
}

# What a step of a dataset calls beside the function of its own name.
_BESIDE = {"align": ("describe", "read"), "embed": ("check_size",)}


def module_sources(module: str, without: Set[str] = frozenset()) -> list[str]:
    """Return the files of ``module`` and of all first-party modules it imports, relative to the root.

    Args:
        module: dotted name.
        without: files that are left out, with what only they import.

    Raises:
        ModuleNotFoundError: there is no such module; a rule without its sources would give stale results.
    """
    # A package that is run as a command is its __main__.
    start = _path_of(module) or _path_of(f"{module}.__main__")
    if start is None:
        raise ModuleNotFoundError(f"no module {module}")
    found: set[str] = set()
    waiting: list[str | None] = [start]
    while waiting:
        path = waiting.pop()
        if path is None or path in found or path in _WITHOUT_EFFECT | without:
            continue
        found.add(path)
        waiting.extend(map(_path_of, _imports(path)))
    return sorted(found)


def folder_sources(folder: str) -> list[str]:
    """Return the Python files of one method folder and the shared modules they import.

    Those of an installed package are absolute paths.
    """
    _, path = installed_methods().get(folder, ("", ROOT / "methods" / folder))
    own = [_named(file) for file in sorted(sources_in(path, "*.py"))]
    shared = {
        source
        for path in own
        for module in _imports(path)
        if _path_of(module)
        for source in module_sources(module)
    }
    return sorted({*own, *shared} - _WITHOUT_EFFECT)


def description_sources(folders: Iterable[str]) -> list[str]:
    """Return the ``method.yaml`` of method folders, named as ``folder_sources`` names their other files."""
    installed = installed_methods()
    paths = {installed.get(folder, ("", ROOT / "methods" / folder))[1] for folder in folders}
    return sorted(_named(path / "method.yaml") for path in paths)


def mask_sources(mask: str) -> list[str]:
    """Return the files of a mask's family, which the step ``mask`` depends on beside its own."""
    from data_prep.masks.registry import families, parse_mask

    module, _ = families()[parse_mask(mask)[0].pattern]
    return module_sources(module)


def drawn_mask_sources(mask: str) -> list[str]:
    """Return the files of a mask's family if training draws from it; a frozen mask's file tells all."""
    from data_prep.masks.registry import parse_mask

    return mask_sources(mask) if parse_mask(mask)[0].drawn else []


def metric_sources(names: Iterable[str]) -> list[str]:
    """Return the files of the paper's metrics, of those named, and what they import."""
    from workflow.metrics.contract import metrics, with_standard

    return sorted({path for name in with_standard(names) for path in module_sources(metrics()[name][0])})


def dataset_sources(names: Iterable[str], step: str | None = None) -> list[str]:
    """Return the files of datasets' entries and of their functions for a step, with what they import.

    Args:
        names: ids.
        step: field of the entry that the step calls, such as ``align``; None: facts are read alone.
    """
    from data_prep.datasets.contract import Later, discover

    found = set()
    for name in names:
        module, dataset = discover()[name]
        found.update(module_sources(module))
        for field in (step, *_BESIDE.get(step, ())) if step else ():
            function = getattr(dataset, field)
            if isinstance(function, Later):
                found.update(module_sources(function.module))
    return sorted(found)


def portable_name(source: str) -> str:
    """Name a source file independently of this machine: by its path below the root or its package."""
    for _, folder in installed_methods().values():
        if Path(source).is_relative_to(folder):
            return f"{folder.name}/{Path(source).relative_to(folder).as_posix()}"
    return source


def _named(file: Path) -> str:
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT / "methods") else file.as_posix()


@cache
def _path_of(module: str) -> str | None:
    # A package's __init__ is a docstring, which changes nothing; so only modules count.
    path = f"{module.replace('.', '/')}.py"
    return path if (ROOT / path).is_file() else None


@cache
def _imports(path: str) -> tuple[str, ...]:
    names: set[str] = set()
    for node in _statements(ast.parse((ROOT / path).read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, path)
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return tuple(sorted(name for name in names if name.split(".")[0] in PACKAGES))


def _statements(block: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Walk statements, which imports are, and not the expressions in them, nine tenths of a tree."""
    for statement in block:
        yield statement
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            yield from _statements(getattr(statement, field, ()))


def _absolute(node: ast.ImportFrom, path: str) -> str:
    """Return the module that a file names in an import; plug-ins of users may name it by its place."""
    above = Path(path).parts[: -node.level] if node.level else ()
    return ".".join((*above, *filter(None, (node.module,))))
