"""A step declares the sources that change its result: all of them, and no more."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import floors
import pytest

from data_prep.datasets.contract import discover as discover_datasets
from data_prep.masks.registry import all_masks
from methods.registry import discover
from workflow.provenance import sources
from workflow.provenance.sources import description_sources, folder_sources, module_sources
from workflow.run.identity import training_sources

ROOT = Path(__file__).parents[3]
STEPS = (
    "data_prep.datasets.ixi.fetch",
    "data_prep.phantom.donors",
    "data_prep.datasets.embed",
    "data_prep.datasets.align",
    "data_prep.prepare",
    "data_prep.prepare.places",
    "data_prep.datasets.ixi.report",
    "data_prep.datasets.ixi.lesions",
    "data_prep.masks",
    "workflow.train",
    "workflow.evaluate",
    "workflow.statistics.gather",
    "workflow.statistics.significance",
    "workflow.tables",
    "workflow.figures",
    "workflow.figures.differences",
    "workflow.figures.training_curves",
    "workflow.claims",
    "workflow.cost.estimate",
    "workflow.provenance",
    "workflow.trust.probe",
    "workflow.trust.gather",
    "workflow.trust.tables",
    "workflow.trust.figures",
    "workflow.cost.measured",
    "workflow.tune.choose",
    "workflow.page",
)


# An import in each kind of block that holds statements.
NESTED = """
class Step:
    async def run(self):
        for one in ():
            with one:
                import data_prep.base
        else:
            while True:
                import data_prep.other
        try:
            match one:
                case 1:
                    from workflow import late
        except OSError:
            import data_prep.inner.far
        else:
            import workflow.unrelated
        finally:
            if one: import data_prep.inner.near
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small repository of its own."""
    files = {
        "data_prep/errors.py": "",
        "data_prep/base.py": "import numpy",
        "data_prep/other.py": "from data_prep import base",
        "methods/blocks.py": "import torch\nfrom data_prep.other import x",
        "methods/one/model.py": "from methods.blocks import Block\nfrom data_prep.errors import BadInput",
        "methods/one/parts/layers.py": "import data_prep.base",
        "methods/two/model.py": "import torch",
        "methods/three/model.py": "from ..blocks import Block\nfrom .parts import layers\nfrom . import x",
        "methods/three/parts/layers.py": "from ...contract import ReconstructionModel",
        "methods/contract.py": "",
        "data_prep/inner/near.py": "from . import far\nfrom .far import x\nfrom ..base import y",
        "data_prep/inner/far.py": "",
        "workflow/step.py": "def main():\n    from workflow import late\n    import scipy",
        "workflow/nested.py": NESTED,
        "workflow/late.py": "from workflow.step import main",
        "workflow/unrelated.py": "",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if not name.startswith("methods/"):
            (path.parent / "__init__.py").touch()
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    kept = (sources._imports, sources._path_of)
    for of_another_root in kept:
        of_another_root.cache_clear()
    yield tmp_path
    for of_another_root in kept:
        of_another_root.cache_clear()


@pytest.mark.usefixtures("tree")
def test_imports_are_followed_through_modules_functions_and_circles():
    assert module_sources("workflow.step") == ["workflow/late.py", "workflow/step.py"]
    assert module_sources("data_prep.other") == ["data_prep/base.py", "data_prep/other.py"]
    below = [f"data_prep/{name}.py" for name in ("base", "inner/far", "inner/near", "other")]
    steps = [f"workflow/{name}.py" for name in ("late", "nested", "step", "unrelated")]
    assert module_sources("workflow.nested") == below + steps


@pytest.mark.usefixtures("tree")
def test_a_method_depends_on_its_own_folder_and_the_shared_blocks():
    assert folder_sources("one") == [
        "data_prep/base.py",
        "data_prep/other.py",
        "methods/blocks.py",
        "methods/one/model.py",
        "methods/one/parts/layers.py",
    ]
    assert folder_sources("two") == ["methods/two/model.py"]


@pytest.mark.usefixtures("tree")
def test_imports_by_relative_names_are_followed_too():
    near = ["data_prep/base.py", "data_prep/inner/far.py", "data_prep/inner/near.py"]
    assert module_sources("data_prep.inner.near") == near
    shared = {"data_prep/base.py", "data_prep/other.py", "methods/blocks.py", "methods/contract.py"}
    assert set(folder_sources("three")) - shared == {
        f"methods/three/{n}.py" for n in ("model", "parts/layers")
    }
    assert shared <= set(folder_sources("three"))


def test_what_lies_hidden_in_a_methods_folder_is_no_source_of_it(tree):
    hidden = tree / "methods/one/.ipynb_checkpoints/model-checkpoint.py"
    hidden.parent.mkdir()
    hidden.touch()
    (tree / "methods/one/.#model.py").symlink_to("nowhere")
    before = folder_sources("two")
    assert not [name for name in folder_sources("one") if "/." in name]
    (tree / "methods/two").rename(tree / "elsewhere")
    (tree / "methods/two").symlink_to(tree / "elsewhere")
    assert folder_sources("two") == before


@pytest.mark.parametrize("method", discover())
def test_no_method_depends_on_another(method):
    folders = {Path(name).parts[1] for name in folder_sources(method) if Path(name).parts[0] == "methods"}
    assert {name for name in folders if not name.endswith(".py")} == {method}


@pytest.mark.parametrize("step", STEPS)
def test_a_step_declares_files_that_exist_its_own_among_them(step):
    found = module_sources(step)
    own = step.replace(".", "/")
    assert {f"{own}.py", f"{own}/__main__.py"} & set(found)
    assert all((ROOT / name).is_file() for name in found)
    assert found == sorted(set(found))


def test_steps_that_need_no_network_depend_on_no_method_and_on_no_torch():
    for step in ("workflow.statistics.gather", "workflow.tables", "workflow.figures", "data_prep.prepare"):
        assert not any(name.startswith("methods/") for name in module_sources(step))
        assert "workflow/train/loop.py" not in module_sources(step)


def test_drawing_and_tabulating_do_not_depend_on_each_other():
    assert "workflow/figures/__main__.py" not in module_sources("workflow.tables")
    assert "workflow/figures/__main__.py" not in module_sources("workflow.figures.training_curves")
    assert "workflow/tables/__main__.py" not in module_sources("workflow.figures")
    assert not {"workflow/figures/__main__.py", "workflow/tables/__main__.py"} & set(
        module_sources("workflow.train")
    )


def test_the_page_depends_on_no_drawing_and_no_plan_and_nothing_on_the_page():
    page = set(module_sources("workflow.page"))
    assert {"workflow/page/viewer.py", "workflow/page/grids.py"} <= page
    assert not {"workflow/figures/__main__.py", "workflow/plan/plan.py", "workflow/plan/config.py"} & page
    others = {name for step in STEPS if step != "workflow.page" for name in module_sources(step)}
    assert not {"workflow/page/__main__.py", "workflow/page/viewer.py", "workflow/page/grids.py"} & others


@pytest.mark.parametrize("step", STEPS)
def test_no_first_party_module_that_a_step_really_loads_is_left_out(step):
    """Against the interpreter: whatever importing the module loads is declared, or has no effect."""
    module = step if (ROOT / f"{step.replace('.', '/')}.py").is_file() else f"{step}.__main__"
    code = (
        f"import sys, {module}\n"
        "names = [m for m in sys.modules if m.split('.')[0] in ('data_prep', 'methods', 'workflow')]\n"
        "print('\\n'.join(names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {f"{name.replace('.', '/')}.py" for name in done.stdout.split() if "." in name}
    loaded = {name for name in loaded if (ROOT / name).is_file()}
    assert loaded
    # A family of masks counts for its own masks only, and the rules that make or draw them name it.
    families = {name for mask in all_masks() for name in sources.mask_sources(mask)}
    assert loaded - set(module_sources(step)) <= families | {
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


@pytest.mark.parametrize(("package", "below"), [("data_prep", set()), ("methods", {"data_prep"})])
def test_imports_go_one_way(package, below):
    for file, targets in floors.imports().items():
        if file.startswith(f"{package}/"):
            assert {target.split("/")[0] for target in targets} <= {package, *below}, file


@pytest.mark.parametrize("package", floors.FLOORS)
def test_every_folder_and_file_at_the_top_has_its_floor(package):
    named = [name for floor in floors.FLOORS[package] for name in floor]
    assert sorted(named) == sorted(floors.parts(package))


@pytest.mark.parametrize("package", floors.FLOORS)
def test_no_folder_imports_from_a_floor_above_or_beside(package):
    upwards = floors.upwards(package)
    assert not upwards, "\n".join(["imports against the order of floors:", *upwards])


def test_no_files_and_no_folders_import_in_a_circle():
    graph = floors.imports()
    assert floors.circles(graph) == []
    # What stands at the top of a package is a floor by itself.
    folder_of = {file: str(Path(file).parent) if file.count("/") > 1 else file for file in graph}
    folders = {folder: set() for folder in folder_of.values()}
    for file, targets in graph.items():
        folders[folder_of[file]] |= {folder_of[target] for target in targets} - {folder_of[file]}
    assert floors.circles(folders) == []


def test_plug_ins_are_found_by_existing_and_imported_by_nobody():
    imported = [
        f"{file} imports {target}"
        for file, targets in floors.imports().items()
        for target in targets
        if floors.plug_in(target) not in {None, floors.plug_in(file)}
    ]
    assert not imported, "\n".join(["a plug-in is imported by name:", *imported])


def test_files_have_at_most_450_lines_and_classes_250():
    long = []
    for file in floors.imports():
        text = (ROOT / file).read_text(encoding="utf-8")
        lines = text.count("\n")
        long += [f"{file}: {lines} lines"] if lines > 450 else []
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and node.end_lineno - node.lineno >= 250:
                long.append(f"{file}: class {node.name}, {node.end_lineno - node.lineno + 1} lines")
    assert not long, "\n".join(["too long to be read:", *long])


@pytest.mark.parametrize(
    "step",
    [
        *(
            "workflow.statistics.gather",
            "workflow.statistics.significance",
            "workflow.tables",
            "workflow.figures",
        ),
        *("workflow.figures.differences", "workflow.figures.training_curves", "workflow.claims"),
        *(
            "workflow.trust.gather",
            "workflow.trust.tables",
            "workflow.trust.figures",
            "workflow.cost.measured",
            "workflow.tune.choose",
        ),
        *("workflow.page", "workflow.provenance"),
    ],
)
def test_whoever_shows_runs_compares_them_with_the_plan_by_one_reader(step):
    declared = module_sources(step)
    reader = {"workflow/provenance/record.py", "workflow/provenance/runs.py"}
    assert reader <= set(declared)
    callers = [name for name in declared if "read_runs(" in (ROOT / name).read_text(encoding="utf-8")]
    assert set(callers) - reader
    # A record is read past the comparison where folders are given by hand, and to plan what is still to do.
    past = {file for file in floors.imports() if "read_run(" in (ROOT / file).read_text(encoding="utf-8")}
    by_hand = {"workflow/compare/side.py", "workflow/figures/curves.py", "workflow/plan/__main__.py"}
    by_hand |= {"workflow/run/finished.py"}
    assert past == reader | by_hand


def test_an_init_is_a_docstring():
    """Sources of a step are not looked for in one; a name exported there would hide the file it is from."""
    for package in floors.PACKAGES:
        for path in (ROOT / package).rglob("__init__.py"):
            if "plugins" not in path.parts:
                (statement,) = ast.parse(path.read_text(encoding="utf-8")).body
                assert isinstance(statement, ast.Expr), path


def test_the_page_tells_the_truth_about_what_runs_again():
    """Of the rows that name whole files and say "only", "nothing", "no training" or "all trainings"."""
    page = (ROOT / "docs" / "reproducibility.md").read_text(encoding="utf-8")
    declared = {step: set(module_sources(step)) for step in STEPS}
    training = set(training_sources("manet", "random_4x"))
    seen = set()
    for changed, runs in re.findall(r"^\| (.*?) \| (.*) \|$", page, flags=re.MULTILINE):
        for file in re.findall(r"`((?:data_prep|methods|workflow)/[\w/]+\.py)`", changed):
            steps = [step for step, sources in declared.items() if file in sources]
            if runs.endswith("only"):
                assert len(steps) == 1, (file, steps)
            elif runs.startswith("nothing"):
                assert (steps, file in training) == ([], False), file
            elif "no training" in runs:
                assert (steps != [], file in training) == (True, False), file
            elif runs == "all trainings":
                assert file in training, file
            else:
                continue
            seen.add(runs)
    assert len(seen) == 6


def rules() -> dict[str, str]:
    """The text of every rule by name."""
    found = {}
    for path in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        uncommented = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        # A rule within a loop has no name of its own here, but one for each turn.
        for text in re.split(r"^ *(?=rule\b.*:$)", uncommented, flags=re.MULTILINE)[1:]:
            found[f"{path.stem} {text.split(':')[0]}"] = text
    return found


def test_every_rule_that_runs_a_module_declares_it_and_it_exists():
    running = {name: text for name, text in rules().items() if "shell:" in text}
    assert len(running) >= 25
    for name, text in running.items():
        # The last one, where a lease runs another.
        module = re.findall(r"python -m ([a-z_.]+|{params.module:q})", text)[-1]
        if module == "{params.module:q}":
            # The command of a dataset that has one, as its entry says.
            field = re.search(r"module=.*\(.*\)\.([a-z.]+),", text)[1]
            assert re.search(rf"module_sources\(\s*dataset_of\([^()]+\)\.{re.escape(field)}\s*\)", text), name
            continue
        assert f'module_sources("{module}")' in text, name
        assert module_sources(module), name


def test_who_reads_what_methods_are_declares_it():
    """A definition need not name a method as its folder does, and a new one changes no configuration."""
    assert description_sources(["unet", "manet", "unet"]) == [
        f"methods/{n}/method.yaml" for n in ("manet", "unet")
    ]
    reading = {
        name
        for name, text in rules().items()
        if re.search(r"^ +methods=.*descriptions\(", text, re.MULTILINE)
    }
    assert reading == {"tables rule table", "cost rule paper_cost"}


def test_every_value_in_a_command_is_quoted():
    texts = [text.partition("shell:")[2] for text in rules().values()]
    values = [value for text in texts for value in re.findall(r"{[^{}\n]*}", text)]
    assert len(values) > 100
    assert [value for value in values if not value.endswith(":q}")] == []


def test_no_word_of_a_user_is_taken_for_a_wildcard():
    """A parameter that is no function is searched for wildcards, and labels and paths may hold braces."""
    texts = [text.partition("params:")[2].partition("shell:")[0] for text in rules().values()]
    of_words = [re.sub(r"canonical\(\s*split_numbers", "", text) for text in texts]
    fields = [field for text in of_words for field in re.split(r"\n {8,12}(?=\w+=)", text)]
    written = [field for field in fields if re.search(r"to_json\(|canonical\(|\.arguments|options\(", field)]
    assert len(written) > 15
    assert [field for field in written if not re.match(r"\w+=lambda wildcards", field)] == []


def test_the_steps_tested_here_are_those_of_the_rules():
    modules = {module for text in rules().values() for module in re.findall(r"python -m ([a-z_.]+)", text)}
    entries = [dataset for _, dataset in discover_datasets().values()]
    modules |= {module for dataset in entries for module in (dataset.report, dataset.lesions) if module}
    modules |= {dataset.download.module for dataset in entries if dataset.download}
    assert modules - {"workflow.lease"} == set(STEPS)
