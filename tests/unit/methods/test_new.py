"""A new method starts as a working copy of the template, under a name that can be a method's."""

import subprocess
import sys
from pathlib import Path

import pytest

import methods
from data_prep.errors import BadInput
from methods.check import check, checks_of
from methods.new import create
from methods.registry import METHODS_FOLDER, discover

ROOT = Path(__file__).parents[3]


def test_a_new_method_is_discovered_and_keeps_the_contract(tmp_path, monkeypatch):
    made = create("two_words", tmp_path)
    method = discover(tmp_path)["two_words"].default
    assert (method.label_on("ixi"), method.collection) == ("Two words", None)
    texts = [path.read_text(encoding="utf-8") for path in made.iterdir()]
    assert len(texts) == 3
    assert not any("emplate" in text for text in texts)
    assert "class TwoWordsReconstruction(" in (made / "model.py").read_text(encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    assert [check(method, name) for name in checks_of(method)] == [None] * 13


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Early", "'Early' is no method's name; use letters a-z"),
        ("two-words", "is no method's name"),
        ("", "is no method's name"),
        ("../early", "is no method's name"),
        ("9lives", "is no method's name"),
        ("lambda", "is a word of Python"),
        ("template", "is what the template calls itself"),
        ("manet", "methods/manet exists already"),
        ("registry", "methods/registry.py exists already"),
    ],
)
def test_a_name_that_cannot_be_is_refused_and_nothing_is_made(name, said):
    before = sorted(METHODS_FOLDER.iterdir())
    with pytest.raises(BadInput, match="NAME: ") as refused:
        create(name)
    assert said in str(refused.value)
    assert sorted(METHODS_FOLDER.iterdir()) == before


def test_the_command_refuses_in_one_sentence_and_needs_no_torch():
    code = (
        "import sys; sys.argv = ['new', 'manet']\n"
        "from data_prep.errors import run_command\nfrom data_prep.io.command import call\n"
        "from methods.new import main\n"
        "try:\n    run_command(lambda: call(main))\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == ("error: NAME: methods/manet exists already; choose another name or delete it\n"), (
        done.stderr
    )
