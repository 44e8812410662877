"""docs/architecture.svg: which folder's commands hand files to which, read off Snakemake's graph of rules.

python tests/helpers/flow_picture.py    draws it anew
"""

import ast
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "architecture.svg"
CONFIG = "config/trust.yaml"  # asks for everything that there is
_WIDTH, _MARGIN = 860, 10  # pixels, as all below
_BOX, _LANE, _LINE, _GAP = 206, 14, 15, 34
_LETTERS = 30  # in a line of a box
_COLOURS = {"data_prep": "#dcebf7", "workflow": "#e6f2dc"}

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Rule:
    """The folder whose command a rule runs, as "workflow/train", and what it writes into the results."""

    folder: str
    writes: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Where a folder's box is, or where an arrow between folders passes by the boxes of a row."""

    centre: float
    top: float
    bottom: float


def read_rules() -> dict[str, Rule]:
    """Every rule that runs a command, by name."""
    found = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for name, value in re.findall(r'^([A-Z_]+) = f"(.*)"$', text, flags=re.MULTILINE):
            text = text.replace(f"{{{name}}}", value).replace(f" {name},", f' f"{value}",')
        for name, body in _named_rules(text):
            modules = re.findall(r"python -m ([\w.]+)", body)
            outputs = re.search(r"^    output:\n(.*?)^    \w", body, flags=re.MULTILINE | re.DOTALL)
            if modules and outputs:
                # The last one, where a lease runs another.
                folder = "/".join(modules[-1].split(".")[:2])
                found[name] = Rule(folder, tuple(re.findall(r"\{(?:ROOT|SHARED)\}/([\w.]+)", outputs[1])))
    return found


def _named_rules(text: str) -> list[tuple[str, str]]:
    """The rules of a file with their bodies; of a loop over datasets, one for each of them."""
    found = re.findall(r"^rule (\w+):\n((?: .*\n|\n)+)", text, flags=re.MULTILINE)
    datasets = sorted(path.parent.name for path in (ROOT / "data_prep" / "datasets").glob("*/dataset.py"))
    for body in re.findall(r"^    rule:\n((?:        .*\n|\n)+)", text, flags=re.MULTILINE):
        body = textwrap.dedent(body)
        pattern = re.search(r'f"(\w*\{name\}\w*)"', body)
        assert pattern is not None
        found += [
            (pattern[1].replace("{name}", name), textwrap.indent(body, "    ") + "    end")
            for name in datasets
        ]
    return found


@cache
def rule_graph() -> dict[str, set[str]]:
    """The rules of ``CONFIG``, each with those that read what it writes."""
    command = [sys.executable, "-m", "snakemake", "--rulegraph", "dot", "--forceall", "--configfile", CONFIG]
    dot = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', dot))
    graph: dict[str, set[str]] = {name: set() for name in names.values()}
    for source, target in re.findall(r"(\d+) -> (\d+)", dot):
        graph[names[source]].add(names[target])
    return graph


def folder_graph(rules: Mapping[str, Rule], graph: Graph) -> dict[str, set[str]]:
    """The folders, each with those that read what its commands write, but for arrows that others imply."""
    folders: dict[str, set[str]] = {rules[name].folder: set() for name in graph if name in rules}
    for source in graph.keys() & rules.keys():
        read_by = {rules[target].folder for target in graph[source] & rules.keys()}
        folders[rules[source].folder] |= read_by - {rules[source].folder}
    return {
        folder: {
            target for target in targets if not any(target in _after(folders, other) for other in targets)
        }
        for folder, targets in folders.items()
    }


def _after(graph: Graph, node: str) -> set[str]:
    return set().union(*({target} | _after(graph, target) for target in graph[node]))


def _rows(graph: Graph) -> list[list[tuple[str, str]]]:
    """Rows from the top: a folder as its name twice, an arrow that passes by as the names of its ends."""
    parents = {node: sorted(other for other in graph if node in graph[other]) for node in graph}

    def depth(node: str) -> int:
        return max((depth(parent) + 1 for parent in parents[node]), default=0)

    rows: list[list[tuple[str, str]]] = [[] for _ in range(max(map(depth, graph)) + 1)]
    for node in sorted(graph):
        rows[depth(node)].append((node, node))
        for target in sorted(graph[node]):
            for row in range(depth(node) + 1, depth(target)):
                rows[row].append((node, target))
    # Below what they come from, so that arrows seldom cross.
    across: dict[tuple[str, str], float] = {}
    for items in rows:
        wanted = {}
        for here, there in items:
            above = parents[here] if here == there else [here]
            places = [across.get((parent, there), across[parent, parent]) for parent in above]
            wanted[here, there] = sum(places) / max(len(places), 1)
        items.sort(key=wanted.__getitem__)
        across |= {item: (number + 0.5) / len(items) for number, item in enumerate(items)}
    return rows


def draw() -> str:
    """The picture as SVG."""
    rules = read_rules()
    graph = folder_graph(rules, rule_graph())
    words = {folder: _words(folder, rules.values()) for folder in graph}
    boxes: list[str] = []
    placed: list[dict[tuple[str, str], Place]] = []
    y = _MARGIN
    for row in _rows(graph):
        height = max(len(words[here]) for here, there in row if here == there) * _LINE + 14
        widths = [_BOX if here == there else _LANE for here, there in row]
        gap = min(_GAP, (_WIDTH - 2 * _MARGIN - sum(widths)) / max(len(row) - 1, 1))
        x = (_WIDTH - sum(widths) - gap * (len(row) - 1)) / 2
        placed.append({})
        for (here, there), width in zip(row, widths, strict=True):
            placed[-1][here, there] = Place(x + width / 2, y, y + height)
            if here == there:
                boxes.append(_box(words[here], _COLOURS[here.split("/")[0]], x, y, height))
            x += width + gap
        y += height + _GAP
    arrows = []
    for source in sorted(graph):
        for target in sorted(graph[source]):
            ends = ((source, source), (source, target), (target, target))
            arrows.append(_arrow([row[item] for row in placed for item in ends if item in row]))
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y - _GAP + _MARGIN}"',
            '  font-family="sans-serif" font-size="12">',
            "<title>Which folder's commands hand files to which</title>",
            '<defs><marker id="head" markerWidth="8" markerHeight="8" refX="7" refY="4" orient="auto">',
            '<path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>',
            '<rect width="100%" height="100%" fill="white"/>',
            '<g fill="none" stroke="#666" stroke-width="1.5">',
            *arrows,
            "</g>",
            *boxes,
            "</svg>\n",
        ]
    )


def _arrow(stops: list[Place]) -> str:
    path = f"M{stops[0].centre:.0f},{stops[0].bottom:.0f}"
    for above, below in pairwise(stops):
        middle = (above.bottom + below.top) / 2
        path += f" C{above.centre:.0f},{middle:.0f} {below.centre:.0f},{middle:.0f}"
        path += f" {below.centre:.0f},{below.top:.0f}"
        if below is not stops[-1]:
            path += f" V{below.bottom:.0f}"
    return f'<path d="{path}" marker-end="url(#head)"/>'


def _words(folder: str, rules: Iterable[Rule]) -> list[str]:
    """What stands in a box: the folder, the line of its __init__, and what its commands write."""
    docstring = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))
    assert docstring is not None, folder
    writes = sorted({name for rule in rules if rule.folder == folder for name in rule.writes})
    return [
        f"{folder}/",
        *textwrap.wrap(docstring.splitlines()[0], _LETTERS),
        *textwrap.wrap(f"→ {', '.join(writes)}", _LETTERS),
    ]


def _box(words: list[str], colour: str, x: float, y: float, height: float) -> str:
    lines = [
        f'<rect x="{x:.0f}" y="{y}" width="{_BOX}" height="{height}" rx="5" fill="{colour}" stroke="#666"/>'
    ]
    for number, line in enumerate(words):
        weight = "" if number else ' font-weight="bold"'
        lines.append(f'<text x="{x + 8:.0f}" y="{y + 17 + number * _LINE}"{weight}>{escape(line)}</text>')
    return "\n".join(lines)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
