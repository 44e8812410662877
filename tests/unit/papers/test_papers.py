"""Papers as data: a folder with a mistake is refused by file and field, and takes no other along."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from data_prep.errors import BadInput
from methods.registry import discover
from workflow import check_paper, new_paper
from workflow.page.pictures import caption
from workflow.papers import contract as module
from workflow.papers.claim import claims_of
from workflow.papers.contract import PAPERS, papers, read_paper
from workflow.plan.chosen import caption_of
from workflow.plan.config import check_config
from workflow.plan.plan import Plan

ROOT = Path(__file__).parents[3]
METHODS = discover()
BRAINS = {"source": "embedded", "matrix": 64, "slices": 4, "splits": {"train": 2, "val": 1, "test": 2}}
KNEES = {**BRAINS, "masks": ["random_4x", "random_8x", "equispaced_4x"]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of papers of its own, with the shipped ones."""
    shutil.copytree(PAPERS, tmp_path / "papers")
    monkeypatch.setattr(module, "PAPERS", tmp_path / "papers")
    monkeypatch.setattr(check_paper, "PAPERS", tmp_path / "papers")
    for cached in (read_paper, claims_of):
        cached.cache_clear()
    yield tmp_path / "papers"
    for cached in (read_paper, claims_of):
        cached.cache_clear()


def plan(**changes: Any) -> Plan:
    content = {
        "experiment": "test",
        "datasets": {"fastmri": KNEES},
        "training": {"epochs": 1, "batch_size": 2},
        "sweep": {"alphas": [0.4], "betas": [0.4, 0.6]},
    }
    return Plan(check_config(content | changes, METHODS), METHODS)


def test_papers_are_found_by_existing_and_a_name_with_an_underscore_is_none(folder):
    assert {"fsmnet", "manet", "ramzi"} <= set(papers())
    assert "_template" not in papers()
    shutil.copytree(folder / "ramzi", folder / "_ramzi_old")
    (folder / "notes").mkdir()
    assert {"_ramzi_old", "notes"}.isdisjoint(papers())


def spoil(path, old, new):
    """Put one text of a file in place of another that stands there."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("paper.yaml", "id: ramzi", "id: ramsi", "field id is 'ramsi', but the folder is ramzi"),
        ("paper.yaml", "numeral:", "numerl:", "numeral is missing"),
        ("paper.yaml", "masks: [random_4x]", "masks: [random_5x]", "masks: fastmri has no mask 'random_5x'"),
        ("paper.yaml", "masks: [random_4x]", "masks: [random_4x, random_4x]", "masks names random_4x twice"),
        ("paper.yaml", "metrics: [psnr", "metrics: [psnr, psnr", "tables.1.metrics names psnr twice"),
        ("paper.yaml", "dataset: fastmri", "dataset: fastmry", "field tables.1.dataset: dataset 'fastmry'"),
        ("paper.yaml", "masks: [random_4x]", "masks: []", "field tables.1.masks names none"),
        ("paper.yaml", "kind: comparison", "kind: heat_map", "field figures.1.sweep: a heat map has one"),
        ("paper.yaml", "psnr: {digits", "psrn: {digits", "metric 'psrn' is unknown"),
        (
            "published.csv",
            "random,4,U-net",
            "random,8,U-net",
            "line 3: table fastMRI-PDFS has no cell for unet",
        ),
        ("published.csv", "U-net,29.89", "U-nett,29.89", "line 3: method 'U-nett' is not among methods"),
        ("published.csv", "29.89", "29,89", "line 3: has another number of cells"),
        ("published.csv", "29.89", "29.8g", "line 3: psnr_mean is '29.8g', no number"),
        ("published.csv", "0.6334", "63.34", "line 3: ssim_mean is 63.34, beyond 1, the best"),
        ("published.csv", "29.89,,0.6334", ",,", "line 3: no metric has a value"),
        ("published.csv", "psnr_mean", "psnr", "column psnr_mean is missing"),
        ("published.csv", "# Read from", "Read from", "line 1 does not say where the values were read"),
        ("published.csv", "fastMRI-PDFS", "II", "line 3: table 'II' does not stand in paper.yaml"),
        ("claims.yaml", "judged_by", "judgd_by", r"field \[0\].judged_by is missing"),
        (
            "claims.yaml",
            "tables: [fastMRI-PDFS]",
            "tables: [I]",
            r"\(iterations_help\): there is no table 'I'",
        ),
        ("claims.yaml", "methods: {", "weights: {alpha: [0, 1], beta: [0, 1]}\n  methods: {", "give one of"),
        ("claims.yaml", "better: [varnet]", "better: [unet-big]", "names the method unet-big: .*no variant"),
    ],
)
def test_a_mistake_is_refused_by_file_and_field_and_takes_no_other_paper_along(folder, file, old, new, said):
    spoil(folder / "ramzi" / file, old, new)
    with pytest.raises(BadInput, match=said) as refused:
        assert plan(paper="ramzi").papers
    place = "ramzi" if "names the method" in said else f"ramzi/{file}"
    assert str(folder / place) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert re.search("; (correct|write|remove|begin|its columns|adding|give)", str(refused.value))
    # Whoever does not choose it does not see it; the check of the others stands.
    assert plan(paper="manet").table_definitions
    assert check_paper.run("manet")[0] == 0
    assert check_paper.run("ramzi")[0] > 0


def test_the_mark_with_which_a_spreadsheet_begins_a_file_is_no_text(folder):
    path = folder / "ramzi" / "published.csv"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_paper("ramzi").values


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("paper.yaml", "unet: U-net, varnet", "unett: U-net, varnet", "methods/ has no such folder|unett"),
        (
            "paper.yaml",
            "    inferred",
            "    silent: Not read.\n    inferred",
            "is silent, but published.csv has",
        ),
        ("published.csv", "fastMRI-PDFS,random,4,U-net,29.89,,0.6334,\n", "", "nothing fills it"),
        ("claims.yaml", "  silent: Its networks", "  sectoin: Its networks", "sectoin is unknown"),
        ("claims.yaml", "than: [unet2]", "than: [xiang]", "no table that it names has a row of xiang"),
    ],
)
def test_the_check_says_what_no_reading_tells(folder, capsys, name, old, new, said):
    spoil(folder / "ramzi" / name, old, new)
    failures, checks = check_paper.run("ramzi")
    assert (failures > 0, checks) == (True, len(check_paper.CHECKS))
    assert re.search(said, capsys.readouterr().out)


def test_a_claim_that_no_printed_value_decides_must_say_why(folder, capsys):
    path = folder / "ramzi" / "claims.yaml"
    claims = yaml.safe_load(path.read_text(encoding="utf-8"))
    del claims[0]["silent"]
    path.write_text(yaml.safe_dump(claims), encoding="utf-8")
    assert check_paper.run("ramzi")[0] == 1
    assert "iterations_help: no printed value decides it" in capsys.readouterr().out


def test_once_values_are_there_neither_a_table_nor_a_claim_may_stay_silent(folder, capsys):
    made = new_paper.create("mine", folder)
    with (made / "published.csv").open("a", encoding="utf-8") as values:
        values.write("1,1d_uniform,6,Zero-filled,0.700,,25.00,\n1,1d_uniform,6,U-Net,0.800,,30.00,\n")
    said = []
    for file in ("paper.yaml", "claims.yaml", ""):
        for cached in (read_paper, claims_of):
            cached.cache_clear()
        said.append((check_paper.run("mine")[0], capsys.readouterr().out))
        if file:
            lines = (made / file).read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if not line.lstrip().startswith("silent:")]
            (made / file).write_text("\n".join(kept), encoding="utf-8")
    assert [failures for failures, _ in said] == [2, 1, 0]
    assert "table 1 is silent, but published.csv has values of it; remove one" in said[0][1]
    assert "unet_helps is silent, but printed values decide it; remove silent" in said[1][1]
    assert "unet_helps: holds (2 of 2)" in said[2][1]


def test_the_check_prints_each_claim_as_the_papers_own_values_decide_it(capsys):
    assert check_paper.run("manet") == (0, len(check_paper.CHECKS))
    printed = capsys.readouterr().out
    assert "manet_best: mostly (22 of 24)" in printed
    assert "loss_weights: not judged (0 of 0)" in printed


def test_a_new_paper_keeps_the_contract_under_a_name_that_can_be_a_papers(folder):
    made = new_paper.create("two_words", folder)
    assert {path.name for path in made.iterdir()} == {*module.FILES, "README.md"}
    assert check_paper.run("two_words")[0] == 0
    for name in ("Two", "9lives", "template", "", "../x", "manet"):
        with pytest.raises(BadInput, match="ID: "):
            new_paper.create(name, folder)


# ---- what a configuration chooses -----------------------------------------------------------------


def test_without_a_paper_each_dataset_has_a_table_of_all_methods_named_by_it():
    made = plan(datasets={"ixi": {**BRAINS, "masks": ["1d_uniform_6x"]}, "fastmri": KNEES})
    assert {key: one.numeral for key, one in made.table_definitions.items()} == {
        "ixi": "IXI",
        "fastmri": "fastMRI",
    }
    for key, one in made.table_definitions.items():
        assert (one.number, one.dataset, one.paper) == (key, key, "")
        assert [row.method for row in one.rows] == made.compared
    assert made.figure_definitions == {}
    assert made.judged == []
    assert set(plan(tables=["fastmri"]).table_definitions) == {"fastmri"}


def test_several_papers_share_runs_and_have_tables_figures_and_claims_of_their_own():
    alone, other = plan(paper="manet", compare=["zf", "unet"]), plan(paper=["ramzi"], compare=["zf", "unet"])
    both = plan(paper=["manet", "ramzi"], compare=["zf", "unet"])
    assert set(both.table_definitions) == {2, "ramzi_1"}
    assert set(both.figure_definitions) == {7, 9, "ramzi_1"}
    assert both.table_definitions["ramzi_1"].numeral == "fastMRI-PDFS of Ramzi et al. 2020"
    assert both.table_definitions[2] == alone.table_definitions[2]
    assert set(both.runs) == {*alone.runs, *other.runs}
    assert len(both.runs) < len(alone.runs) + len(other.runs)
    shared = set(alone.runs) & set(other.runs)
    assert shared
    assert all(both.spec(run) == alone.spec(run) for run in shared)
    assert [paper.claims_folder for paper in both.judged] == ["claims", "claims/ramzi"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paper": "manett"}, "config: paper: paper 'manett' is unknown; workflow/papers/ has fsmnet, manet"),
        (
            {"paper": "manet", "tables": [5]},
            r"config: tables\[0\]: there is no table 5; choose among 1, 2, 3",
        ),
        (
            {"tables": [1]},
            r"tables\[0\]: there is no table 1; choose among fastmri, or name its paper .*manet",
        ),
        ({"paper": "ramzi", "figures": [1]}, r"figures\[0\]: there is no figure 1; choose among ramzi_1"),
        ({"paper": 3}, "config: paper: 3 is not a text or a list"),
    ],
)
def test_what_no_chosen_paper_has_is_refused(changes, said):
    with pytest.raises(BadInput, match=said):
        plan(**changes)


def test_two_papers_that_call_their_files_alike_are_refused(folder):
    path = folder / "ramzi" / "paper.yaml"
    path.write_text(path.read_text(encoding="utf-8") + 'prefix: ""\n', encoding="utf-8")
    with pytest.raises(BadInput, match="manet and ramzi call their files alike; give one another prefix"):
        assert plan(paper=["manet", "ramzi"]).papers


def test_a_paper_of_a_metric_that_the_configuration_lacks_says_what_to_add(folder):
    for file, old, new in (
        ("paper.yaml", "psnr: {digits: 2}", "hfen: {digits: 2}"),
        ("paper.yaml", "metrics: [psnr, ssim]", "metrics: [hfen, ssim]"),
        ("published.csv", "psnr_mean,psnr_std", "hfen_mean,hfen_std"),
    ):
        path = folder / "ramzi" / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"config: metrics: table .* prints hfen; add it there, or leave the table"
    ):
        assert plan(paper="ramzi").table_definitions
    assert plan(paper="ramzi", metrics=["hfen"]).table_definitions


def test_a_table_with_a_column_of_a_metric_that_the_configuration_lacks_says_so(folder):
    path = folder / "ramzi" / "paper.yaml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("[psnr, ssim]", "[psnr, hfen]"), encoding="utf-8"
    )
    with pytest.raises(BadInput, match=r"config: metrics: table .* prints hfen; add it there"):
        assert plan(paper="ramzi").table_definitions


def test_captions_of_figures_say_what_our_methods_are_not_and_take_no_words_for_markup(folder):
    path = folder / "ramzi" / "paper.yaml"
    text = path.read_text(encoding="utf-8").replace("VarNet stands for", "VarNet *stands* for_ `")
    path.write_text(text, encoding="utf-8")
    made = plan(paper="ramzi")
    said = caption_of(made.figure_definitions["ramzi_1"])
    assert said["subject"].startswith("Fig. 1 of Ramzi et al. 2020: reconstructions of fastMRI")
    html = caption("figure", {"number": "ramzi_1"}, {"fastmri": "embedded"}, said)
    assert "VarNet *stands* for_ `" in html
    assert "Embedded data, not fastMRI." in html


def test_no_python_knows_a_table_of_a_paper():
    words = re.compile(r"[\"']manet-|w/o|UNet-(T2|PDFS)|Tables? I{1,3}V?\b|Fig\. \d")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "workflow").rglob("*.py"))
        if words.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []
