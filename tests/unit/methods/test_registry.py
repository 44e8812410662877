"""A method folder is found by being there, and a broken one is refused by file, field and remedy."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.errors import BadInput
from methods.registry import METHODS_FOLDER, discover, folder_of, load_builder, read_folder

ROOT = Path(__file__).parents[3]


def description(**changes: Any) -> dict[str, Any]:
    return {
        "id": "new",
        "label": "New",
        "citation": "A. Author: a title, 2024.",
        "order": 25,
        "trainable": True,
        "needs_auxiliary": True,
        "parameters": {"width": 8, "alpha": 0.4, "beta": 0.6},
        "optimiser": {"name": "adam", "lr": 0.001},
        "variants": {"narrow": {"label": "narrow", "parameters": {"width": 2}}},
        "sweeps": {
            "weights": {
                "id": "a{alpha}-b{beta}",
                "label": "alpha {alpha}, beta {beta}",
                "parameters": ["alpha", "beta"],
            }
        },
    } | changes


def write(parent: Path, content: dict[str, Any] | str, name: str = "new") -> Path:
    folder = parent / name
    folder.mkdir()
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    (folder / "method.yaml").write_text(text, encoding="utf-8")
    (folder / "model.py").write_text("def build(params, image_shape):\n    return None\n", encoding="utf-8")
    (folder / "README.md").write_text("# New\n", encoding="utf-8")
    return folder


def test_the_shipped_methods_are_in_the_papers_order():
    found = [name for name, entry in discover().items() if entry.default.collection is None]
    assert found == ["zf", "unet", "xiang", "dudornet", "manet"]


def test_discovery_needs_no_torch():
    code = "import sys, methods.registry as r; r.discover(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_folder_is_found_by_being_there_and_takes_its_place_by_order(tmp_path):
    write(tmp_path, description(order=25))
    write(tmp_path, description(id="first", order=-1), "first")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "_template").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "contract.py").touch()
    assert list(discover(tmp_path)) == ["first", "new"]


@pytest.mark.parametrize(
    "left",
    [
        "",
        "__pycache__/model.cpython-311.pyc",
        "parts/__pycache__/layers.cpython-311.pyc",
        ".ipynb_checkpoints/model-checkpoint.py",
        ".git/HEAD.py",
        ".#model.py",
        "method.yaml~",
        "weights.pt",
    ],
)
def test_what_a_method_leaves_behind_is_no_method(tmp_path, left):
    write(tmp_path, description())
    file = tmp_path / "gone" / left
    (file if not left else file.parent).mkdir(parents=True)
    if left:
        file.symlink_to("nowhere") if left.startswith(".#") else file.touch()
    assert list(discover(tmp_path)) == ["new"]


def test_a_method_behind_a_link_is_one_like_others(tmp_path):
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "new").symlink_to(write(tmp_path, description()))
    assert list(discover(tmp_path / "methods")) == ["new"]


def test_a_template_folder_is_no_method():
    assert not any(name.startswith("_") for name in discover(METHODS_FOLDER))


def test_a_label_may_differ_by_dataset(tmp_path):
    write(tmp_path, description(label={"ixi": "New-T2", "fastmri": "New-PDFS"}))
    write(tmp_path, description(id="plain", label="Plain"), "plain")
    found = discover(tmp_path)
    assert found["new"].default.label == {"ixi": "New-T2", "fastmri": "New-PDFS"}
    assert [found["plain"].default.label_on(name) for name in ("ixi", "fastmri", "brats")] == ["Plain"] * 3
    assert [found["new"].default.label_on(name) for name in ("ixi", "brats")] == ["New-T2", "new"]
    write(tmp_path, description(id="third", label={"ixi": "A", "fastmri": "B", "other": "C"}), "third")
    assert discover(tmp_path)["third"].default.label_on("brats") == "C"


def test_variants_and_sweep_points_are_methods(tmp_path):
    write(tmp_path, description())
    folder = discover(tmp_path)["new"]
    narrow, point = folder.method("new-narrow"), folder.method("new-a0.2-b1")
    assert folder.method("new") is folder.default
    assert (narrow.parameters, narrow.label_on("ixi")) == ({"width": 2, "alpha": 0.4, "beta": 0.6}, "narrow")
    assert narrow.changes == {"width": 2}
    assert point.parameters == {"width": 8, "alpha": 0.2, "beta": 1.0}
    assert point.label_on("fastmri") == "alpha 0.2, beta 1.0"
    assert (point.folder, point.trainable, point.optimiser) == ("new", True, folder.default.optimiser)
    for unknown in ("new-wide", "new-a0.2", "new-a0.2-b1.2.3", "new-", "old"):
        with pytest.raises(BadInput, match=r"method\.yaml.*declared variants: narrow"):
            folder.method(unknown)


def test_a_number_with_an_exponent_is_a_number_in_a_description_too(tmp_path):
    content = description(label="1e3", parameters={"width": 8, "alpha": "4e-1", "beta": 0.6})
    content |= {
        "optimiser": {"name": "adam", "lr": "1e-3", "betas": ["9e-1", 0.99]},
        "small": {"beta": "1e-1"},
    }
    found = read_folder(write(tmp_path, content), "new").default
    assert found.parameters == {"width": 8, "alpha": 0.4, "beta": 0.6}
    assert found.optimiser == {"name": "adam", "lr": 0.001, "betas": [0.9, 0.99]}
    assert found.small == {"beta": 0.1}
    assert found.label == {"other": "1e3"}


@pytest.mark.parametrize("alpha", [0.2, 0.4, 1, 0])
def test_a_sweep_points_id_leads_back_to_its_values(tmp_path, alpha):
    write(tmp_path, description())
    folder = discover(tmp_path)["new"]
    method_id = folder.sweep_id("weights", {"alpha": alpha, "beta": 0.6}, folder.default.parameters)
    assert (method_id == "new") == (alpha == 0.4)
    parameters = folder.method(method_id).parameters
    assert (parameters["alpha"], parameters["beta"]) == (alpha, 0.6)


@pytest.mark.parametrize("missing", ["method.yaml", "model.py", "README.md"])
def test_an_incomplete_folder_is_refused(tmp_path, missing):
    (write(tmp_path, description()) / missing).unlink()
    with pytest.raises(BadInput, match=rf"new/{missing}: missing; "):
        discover(tmp_path)


def without(key: str) -> dict[str, Any]:
    content = description()
    del content[key]
    return content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("id: [new", "not valid YAML"),
        ("just words", "the file: "),
        ("", "the file: "),
        (without("label"), "'label' is a required property"),
        (without("optimiser"), "'optimiser' is a required property"),
        (description(id="other"), "id: is 'other', but the folder is 'new'"),
        (description(id="New-1"), "id: 'New-1'"),
        (description(order="last"), "order: 'last'"),
        (description(trainable="maybe"), "trainable: 'maybe'"),
        (description(colour="red"), "'colour'"),
        (description(optimiser={"name": "adam", "lr": 0}), "optimiser.lr: 0"),
        (description(optimiser={"name": "adam", "lr": "0,001"}), "optimiser.lr: '0,001'"),
        (description(label={"ixi": "New"}), "label"),
        (
            description(variants={"wide": {"label": "w", "parameters": {"breadth": 2}}}),
            "variants.wide: unknown",
        ),
        (description(variants={"Wide": {"label": "w", "parameters": {"width": 2}}}), "'Wide'"),
        (
            description(sweeps={"s": {"id": "g{gamma}", "label": "", "parameters": ["gamma"]}}),
            "sweeps.s: unknown",
        ),
        (description(declines={"2d_spiral_6x": ""}), "declines"),
        (description(small={"breadth": 2}), "small: unknown parameter 'breadth'"),
        (description(small={"width": 0}), "small.width: is 0; give a whole number from 1"),
        (
            description(variants={"wide": {"label": "w", "parameters": {"width": "8"}}}),
            "variants.wide.width: is '8'; give a whole number such as the default",
        ),
        (description(trainable=False, tune={"width": [1, 2.5]}), "tune.width: is 2.5; give a whole number"),
        (description(collection="Extended"), "collection: 'Extended'"),
        (description(tune={"width": [1, 2]}), "tune: is for untrained methods"),
        (description(trainable=False, tune={"breadth": [1, 2]}), "tune: unknown parameter 'breadth'"),
        (description(trainable=False, tune={"width": [1]}), "tune.width: [1]"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
def test_a_malformed_description_is_refused_in_one_sentence(tmp_path, content, named):
    write(tmp_path, content)
    with pytest.raises(BadInput) as refusal:
        discover(tmp_path)
    message = str(refusal.value)
    assert named in message
    assert message.startswith(str(tmp_path / "new" / "method.yaml"))
    assert "\n" not in message
    assert ";" in message


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (write(tmp_path, description()) / "method.yaml").write_bytes(b"label: \xff\xfe")
    with pytest.raises(BadInput, match=r"method\.yaml: not valid YAML"):
        discover(tmp_path)


def test_a_run_belongs_to_the_folder_before_the_hyphen():
    assert folder_of("manet-no_kspace", ["zf", "manet"]) == "manet"
    with pytest.raises(BadInput, match=r"unknown method 'net-a0\.2'.*methods/net/; known methods: zf, manet"):
        folder_of("net-a0.2", ["zf", "manet"])


def test_a_builder_is_loaded_and_its_absence_named(tmp_path, monkeypatch):
    assert callable(load_builder("zf"))
    import methods

    (write(tmp_path, description(id="hollow"), "hollow") / "model.py").write_text("x = 1\n", encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    with pytest.raises(BadInput, match=r"methods/hollow/model\.py: has no function 'build'; define"):
        load_builder("hollow")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "New\nline"}, r"label\.other: holds the character U\+000A"),
        ({"label": {"ixi": "a", "fastmri": "b\u202e"}}, r"label\.fastmri: holds the character U\+202E"),
        ({"label": "x" * 81}, r"label\.other: has 81 characters"),
        (
            {"variants": {"v": {"label": "\x1b[0m", "parameters": {"width": 1}}}},
            r"variants\.v\.label: .*U\+001B",
        ),
        ({"declines": {"2d_radial_6x": "no\u200b"}}, r"declines\.2d_radial_6x: .*U\+200B"),
    ],
)
def test_words_that_cannot_be_printed_are_refused(tmp_path, changes, said):
    with pytest.raises(BadInput, match=rf"method\.yaml: {said}"):
        discover(write(tmp_path, description(**changes)).parent)


@pytest.mark.parametrize("key", ["id", "label"])
def test_a_sweeps_words_have_fields_for_its_parameters_only(tmp_path, key):
    content = description()
    content["sweeps"]["weights"][key] = "a{gamma}"
    with pytest.raises(BadInput, match=rf"sweeps\.weights\.{key}: has the field {{gamma}}; known: {{alpha}}"):
        discover(write(tmp_path, content).parent)


@pytest.mark.parametrize(
    "change", [{"collection": "more\n"}, {"variants": {"v\n": {"label": "v", "parameters": {"width": 1}}}}]
)
def test_a_name_ends_where_its_text_ends(tmp_path, change):
    with pytest.raises(BadInput, match="does not match"):
        discover(write(tmp_path, description(**change)).parent)
