"""The page of an experiment: what it holds, that it needs nothing else, its size, and its bytes."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from index_page import write_results
from PIL import Image

from data_prep.errors import BadInput
from data_prep.io.command import call
from data_prep.io.json_files import from_json, to_json
from methods.registry import discover
from workflow.page import __main__ as index
from workflow.page.__main__ import embedded_json, write_index
from workflow.page.answer import read_tests
from workflow.page.grids import claims_grid, values_grid
from workflow.page.viewer import viewer_data
from workflow.plan.config import read_config
from workflow.plan.definitions import PageDefinition
from workflow.plan.page import index_definition
from workflow.plan.plan import Plan
from workflow.plan.probes import TrustPlan
from workflow.tables.page import Block, Page, Text

ROOT = Path(__file__).parents[3]
VOID = {"meta", "link", "img", "br", "input", "hr", "col"}


class Document(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words, self.around = [], [], [], []
        self.raw = {"script": [], "style": []}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.around.append(tuple(self.open))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.raw.get(self.open[-1] if self.open else "", self.words).append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def within(self, outer, tag):
        """Ids of the elements of a tag that have another around them."""
        inside = zip(self.elements, self.around, strict=True)
        return {found.get("id") for (name, found), around in inside if name == tag and outer in around}

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    return root, write_results(root)


@pytest.fixture(scope="module")
def page(results):
    root, definition = results
    write_index(definition, root, root / "index.html")
    content = (root / "index.html").read_bytes()
    return Document(content.decode())


def test_every_printed_value_stands_on_the_page(results, page):
    root, _ = results
    assert "Means over test volumes." in page.text
    assert "Spreads, values in print and differences to them" in page.text
    table = pd.read_csv(root / "tables" / "table_1.csv")
    for row in table.to_dict("records"):
        assert f"{row['psnr_mean']:.2f} ± {row['psnr_std']:.2f}" in page.text
        assert row["label"] in page.text
    assert "Realised acceleration, ACS included" in page.text
    assert "Provenance (first 12 digits of each hash): experiment made_up" in page.text
    for claim in pd.read_csv(root / "claims" / "claims.csv").to_dict("records"):
        assert claim["text"] in page.text
    cells = pd.read_csv(root / "claims" / "cells.csv", dtype=str)
    assert len(re.findall("same rank|other rank|no rank", page.text)) >= len(cells)


def test_embedded_data_is_called_so_and_published_is_not(results, page, tmp_path):
    assert "Embedded data, not IXI." in page.text
    definition = write_results(tmp_path, source="published")
    write_index(definition, tmp_path, tmp_path / "index.html")
    published = Document((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "mbedded data" not in published.text
    # Of several, only what is embedded is called so.
    assert "; they compare methods on semi-synthetic scans." in page.text
    both = replace(results[1], sources={"ixi": "embedded", "fastmri": "published"})
    said = Document(index.render(both, results[0])).text
    assert "no results on IXI; those of IXI compare methods on semi-synthetic scans." in said


def test_parts_that_were_not_asked_for_have_no_heading(page):
    titles = [attributes["aria-labelledby"] for attributes in page.all("section")]
    assert titles == [
        f"{name}-title" for name in ("answer", "viewer", "better", "sure", "paper", "data", "origin")
    ]
    links = [attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("#")]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids))


def test_tests_that_cannot_be_significant_are_folded_behind_one_sentence(page):
    # Six volumes are too few for the tests of five methods under two masks.
    assert page.text.count("can be told from chance: the least p") == 1
    folded = page.within("details", "table")
    assert {"significance_1", "table_1", "paper_values"} <= folded
    assert "paper_claims" not in folded


def test_every_claim_stands_with_its_counts_and_its_evidence_behind(results, page):
    root, _ = results
    claims = pd.read_csv(root / "claims" / "claims.csv")
    for row in claims.query("here_comparisons > 0").to_dict("records"):
        assert f"{row['here']}: {row['here_held']} of {row['here_comparisons']}" in page.text
        assert row["here_evidence"] in page.text
    said = re.search(r"Claims of the paper here: ([^.]+)\.", page.text)[1]
    assert sum(int(count) for count in re.findall(r": (\d+)", said)) == len(claims)


def test_trainings_are_told_in_words(page):
    # Not under every mask: Table IV is of one.
    told = "each method once under each mask that a table or figure shows of it"
    assert f"{told} (the seed of its random numbers is 0)." in page.text
    assert "Training seeds" not in page.text


def test_masks_and_registration_are_on_the_page_with_every_pixel(results, page):
    root, definition = results
    shown = [base64.b64decode(of["src"].partition(",")[2]) for of in page.all("img")]
    pictures = [one for of in definition.pictures.values() for one in of]
    assert {"masks/ixi/1d_uniform_6x", "data/ixi/registration"} <= {one.file for one in pictures}
    originals = [np.asarray(Image.open(root / f"{one.file}.png").convert("RGBA")) for one in pictures]
    for data in shown:
        image = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
        assert any(np.array_equal(image, one) for one in originals)
    assert len(shown) == len(originals)


def test_a_method_that_its_variants_beat_is_told_on_the_first_screen(tmp_path):
    rows = {"manet-no_kspace": "w/o k-space", "manet": "MANet"}
    definition = write_results(tmp_path, methods=rows, better="manet-no_kspace")
    write_index(definition, tmp_path, tmp_path / "index.html")
    beaten = Document((tmp_path / "index.html").read_text(encoding="utf-8"))
    said = "Table I: MANet is beaten by its own variants: w/o k-space in 4 of 4 comparisons"
    assert said in beaten.text
    assert beaten.text.index(said) < beaten.text.index("Flip with the arrow keys")


def test_a_table_beside_the_papers_shows_its_own_metric_and_no_claims(tmp_path):
    definition = write_results(tmp_path, number=5, metrics=["hfen"], convention="slice")
    write_index(definition, tmp_path, tmp_path / "index.html")
    beside = Document((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert "Means over test slices." in beside.text
    table = pd.read_csv(tmp_path / "tables" / "table_5.csv")
    for row in table.to_dict("records"):
        assert f"{row['hfen_mean']:.3f} ± {row['hfen_std']:.3f}" in beside.text
    tested = pd.read_csv(tmp_path / "statistics" / "table_5.csv").query("metric == 'hfen'")
    assert beside.text.count("HFEN") >= len(tested) > 0
    assert "significance_5" in {attributes.get("id") for attributes in beside.all("table")}
    assert "paper" not in {attributes["id"] for attributes in beside.all("section")}
    assert "Claims" not in beside.text
    # Nor is a paper spoken of that there is not.
    read = re.sub(r"\s+", " ", beside.text)
    assert "the paper" not in read.lower()
    assert "values in print" not in read


def test_what_methods_cost_stands_beside_one_table_of_a_dataset(results, tmp_path):
    root, definition = results
    cells = tuple(map(Text, ("7", "26.0")))
    block = Block("Method", (("IXI", ("parameters", "PSNR ↑")),), (("MANet", cells),))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "cost_ixi.json").write_text(to_json(Page("cost-ixi", "Cost", "t", (), (block,))))
    costed = replace(definition, tables=definition.tables | {"cost": ("tables/cost_ixi",)})
    table = read_tests(root / "statistics" / "table_1.csv")
    grid = index.printed_grid(root / "tables" / "table_1.json")
    of_paper = table.assign(table="fastMRI of Ramzi et al. 2020")
    one, other = index.scores(costed, tmp_path, [grid, grid], [table, of_paper])
    assert one["cost"].groups == (("Cost", ("parameters",)),)
    assert other["cost"] is None
    # Findings are called by the whole name of their table.
    assert [one["name"], other["name"]] == ["Table I", "Table fastMRI of Ramzi et al. 2020"]


def test_the_page_loads_nothing(page):
    for tag, attributes in page.elements:
        for name in ("src", "srcset", "href", "data", "action", "poster", "xlink:href"):
            value = attributes.get(name) or ""
            assert not re.match(r"(?:[a-z]+:)?//|(?!data:)[a-z]+:", value), (tag, value)
        if "src" in attributes:
            assert attributes["src"].startswith("data:image/webp;base64,")
        assert tag not in ("iframe", "object", "embed", "base")
        if tag == "link":
            assert attributes["href"] == "data:,"
        if tag == "a":
            assert ":" not in attributes["href"]
    assert not re.search(r"@import|url\(\s*['\"]?(?!data:)", "".join(page.raw["style"]))
    policies = {one.get("http-equiv"): one.get("content") for one in page.all("meta")}
    policy = policies["Content-Security-Policy"]
    # The browser itself refuses any other origin.
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert "http" not in policy


def test_links_beside_the_page_name_files_of_the_results(page):
    links = {attributes["href"] for attributes in page.all("a") if not attributes["href"].startswith("#")}
    assert {
        "tables/table_1.csv",
        "statistics/pairs_1.csv",
        "claims/cells.csv",
        "figures/figure_5.pdf",
    } <= links
    assert all(not Path(link).is_absolute() and ".." not in Path(link).parts for link in links)


def test_headings_landmarks_labels_and_texts_for_pictures(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {"header", "nav", "main", "section"} <= {tag for tag, _ in page.elements}
    alternatives = [attributes["alt"] for attributes in page.all("img")]
    assert "Fig. 5: reconstructions under 1D masks" in alternatives
    assert all(len(text) > 10 for text in alternatives)
    assert all(attributes["lang"] == "en" for attributes in page.all("html"))
    assert all("scope" in attributes for attributes in page.all("th"))


def test_the_same_results_give_the_same_bytes_in_another_process(results, page):
    root, definition = results
    again = root / "again.html"
    command = [sys.executable, "-m", "workflow.page", "--definition", to_json(definition)]
    done = subprocess.run(
        [*command, "--results", str(root), "--output", str(again)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith(" MB\n")
    assert again.read_bytes() == (root / "index.html").read_bytes()
    assert str(root) not in again.read_text(encoding="utf-8")


def test_names_cannot_break_out_of_the_page(page, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\u2028"
    definition = write_results(tmp_path, masks=["1d_uniform_6x"], methods={"zf": "ZF", "manet": evil})
    write_index(definition, tmp_path, tmp_path / "index.html")
    content = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in content
    assert "<img src=x" not in content
    plain = Document(content)
    assert evil.strip() in plain.text
    assert len(plain.all("script")) == len(page.all("script"))
    (data,) = [part for part in plain.raw["script"] if part.startswith('{"settings"')]
    names = [image["name"] for image in json.loads(data)["settings"][0]["slices"][0]["images"]]
    assert evil in names


def test_json_in_a_script_element_reads_back():
    value = {"a": ["</script>", "<!--", "\u2028", "ä"], "b": 0.1}
    text = embedded_json(value)
    assert json.loads(text) == value
    assert "<" not in text
    assert "\u2028" not in text


# ---- size -----------------------------------------------------------------------------------------


def test_a_page_that_is_too_large_is_refused_and_the_old_one_kept(results, page, monkeypatch):
    root, definition = results
    before = (root / "index.html").read_bytes()
    monkeypatch.setattr(index, "LIMIT", 1000)
    with pytest.raises(BadInput, match=r"would have .* MB, more than 0\.001 MB; lower `examples`"):
        write_index(definition, root, root / "index.html")
    assert (root / "index.html").read_bytes() == before


@pytest.mark.long
def test_the_papers_full_setting_leaves_room_for_tables_and_figures(tmp_path):
    """Every mask, method and example at full matrix, each image noise, which cannot be stored in less."""
    plan = Plan(read_config(ROOT / "config" / "paper.yaml"), discover())
    generator = np.random.default_rng(1)
    shown = []
    for content in index_definition(TrustPlan(plan)).viewer:
        size = plan.config["datasets"][content.dataset]["matrix"]
        count = plan.config["examples"]
        images = [generator.random((count, size, size), np.float32) for _ in range(2)]
        for run in (run for group in content.planned for run in group.runs):
            path = tmp_path / "runs" / run / "examples.npz"
            path.parent.mkdir(parents=True)
            names = ("zero_filled", "reconstruction")
            own = {name: generator.random((count, size, size), np.float32) for name in names}
            scores = {
                f"{part}{name}": np.zeros(count) for part in ("", "zero_filled_") for name in ("psnr", "ssim")
            }
            labels = {"subject": np.full(count, "a"), "slice": np.arange(count)}
            mask = np.ones((count, 1, size), bool)
            np.savez(path, target=images[0], auxiliary=images[1], mask=mask, **own, **scores, **labels)
        shown.append(content)
    data = embedded_json(viewer_data(tmp_path, shown, {}))
    assert len(data) < index.LIMIT - 10_000_000


# ---- inputs ---------------------------------------------------------------------------------------


def test_a_missing_input_is_named(results, tmp_path):
    _, definition = results
    with pytest.raises(BadInput, match=r"table_1\.json: no such file; run the workflow to its end first"):
        write_index(definition, tmp_path, tmp_path / "index.html")


def test_a_definition_that_is_no_json_is_refused(monkeypatch):
    arguments = ["--definition", "{", "--results", ".", "--output", "x"]
    monkeypatch.setattr(sys, "argv", ["index", *arguments])
    with pytest.raises(BadInput, match="--definition: not JSON"):
        call(index.write_index)


@pytest.mark.parametrize("name", ["smoke", "demo", "paper", "trust", "extended", "reference"])
def test_every_configuration_has_a_page(name):
    plan = Plan(read_config(ROOT / "config" / f"{name}.yaml"), discover())
    definition = index_definition(TrustPlan(plan))
    assert from_json(PageDefinition, to_json(definition), "--definition", "mend it") == definition
    files = definition.files
    assert len(files) == len(set(files))
    kept = {f"runs/{run.path}/examples.npz" for run in plan.runs}
    shown = {file for file in files if file.startswith("runs/")}
    assert shown <= kept
    # Of other training seeds and the grid of loss weights nothing is shown.
    assert not any("/manet-a" in file or "/seed1/" in file for file in shown)
    for dataset in definition.viewer:
        labels = [row.label for row in dataset.rows]
        assert len(labels) == len(set(labels))
        assert list(dataset.masks) == plan.config["datasets"][dataset.dataset]["masks"]
    assert ("tables/cost_ixi" in definition.tables["cost"]) == plan.config["trust"]["cost"]


def test_methods_are_called_as_in_their_tables_but_for_ablations():
    labels: dict[str, str] = {}
    for name in ("demo", "extended"):
        plan = Plan(read_config(ROOT / "config" / f"{name}.yaml"), discover())
        rows = index_definition(TrustPlan(plan)).viewer[0].rows
        labels |= {row.method: row.label for row in rows}
    assert labels["cs-wavelet"] == "CS-wavelet"
    assert labels["manet-no_kspace"] == "MANet w/o k-space"


def test_questions_beyond_the_paper_are_no_claims_of_the_paper(results, tmp_path):
    root, _ = results
    claims = pd.read_csv(root / "claims" / "claims.csv", keep_default_na=False)
    question = claims.iloc[0].to_dict() | {"section": "not in the paper", "text": "Does it win?"}
    pd.concat([claims, pd.DataFrame([question])]).to_csv(tmp_path / "claims.csv", index=False)
    one, other = (claims_grid(folder / "claims.csv") for folder in (root / "claims", tmp_path))
    assert other.rows[-1][0].text == "Does it win? (not in the paper)"
    assert (one.title, other.title) == ("Claims of the paper's text", f"{one.title}, and questions beyond it")
    assert one.findings == other.findings != ()


@pytest.mark.parametrize("grid", [read_tests, claims_grid, values_grid])
def test_damaged_tables_are_named(tmp_path, grid):
    path = tmp_path / "table.csv"
    with pytest.raises(BadInput, match=r"table\.csv: no such file; run the workflow to its end first"):
        grid(path)
    for content in (b"", b"\xff\xfe", b"one,two\n1,2,3\n", b"one,two\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"table\.csv: .*; delete it and run the workflow again"):
            grid(path)


@pytest.mark.parametrize("kept", [0, 7])
def test_tests_of_which_rows_are_lost_are_named(results, tmp_path, kept):
    root, _ = results
    path = tmp_path / "table_1.csv"
    lines = (root / "statistics" / path.name).read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[: 1 + kept]), encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"table_1\.csv: it does not hold one row for each .*; delete it and run"
    ):
        read_tests(path)


def test_carried_scripts_are_those_that_are_credited():
    credited = (ROOT / "THIRD_PARTY_LICENCES" / "README.md").read_text(encoding="utf-8")
    for path in (ROOT / "workflow" / "resources" / "third_party").iterdir():
        line = next(line for line in credited.splitlines() if f"`{path.name}`" in line)
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line
        text = re.search(r"`([^`]+\.txt)`", line)[1]
        assert (ROOT / "THIRD_PARTY_LICENCES" / text).is_file()
