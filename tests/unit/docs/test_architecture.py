"""docs/architecture.md and its picture say what the code does."""

import re
from itertools import zip_longest

import flow_picture
from floors import FLOORS, ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_the_floors_of_the_page_are_those_that_the_imports_keep():
    printed = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \|$", PAGE, flags=re.MULTILINE)
    floors = zip_longest(FLOORS["data_prep"], FLOORS["workflow"], fillvalue=())
    assert printed == [(str(n), ", ".join(a), ", ".join(b)) for n, (a, b) in enumerate(floors, 1)]


def test_the_picture_is_the_one_that_the_rules_give():
    assert flow_picture.PICTURE.read_text(encoding="utf-8") == flow_picture.draw(), (
        "run python tests/helpers/flow_picture.py"
    )


def test_every_step_is_on_the_picture_and_the_flow_begins_and_ends_once():
    rules = flow_picture.read_rules()
    graph = flow_picture.folder_graph(rules, flow_picture.rule_graph())
    # Asked for by name, before all that is drawn.
    assert set(graph) == {rule.folder for rule in rules.values()} - {"workflow/tune"}
    assert [folder for folder in graph if not graph[folder]] == ["workflow/provenance"]
    read = set().union(*graph.values())
    assert [folder for folder in graph if folder not in read] == ["data_prep/phantom"]
