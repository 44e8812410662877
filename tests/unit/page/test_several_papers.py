"""The page of an experiment of several papers."""

import re
import shutil
from dataclasses import replace

import pandas as pd
from index_page import write_results

from workflow.claims.across import COLUMNS
from workflow.page.__main__ import write_index
from workflow.plan.definitions import ClaimsPart


def test_the_claims_of_each_paper_are_prose_with_a_place_of_their_own(tmp_path):
    one = write_results(tmp_path)
    shutil.copytree(tmp_path / "claims", tmp_path / "claims" / "ramzi")
    cells = tmp_path / "claims" / "ramzi" / "cells.csv"
    cells.write_text(cells.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    pd.DataFrame(columns=[*COLUMNS]).to_csv(tmp_path / "claims" / "papers.csv", index=False)
    other = ClaimsPart("ramzi", "Ramzi et al. 2020", "claims/ramzi")
    for definition, names in (
        (one, ["paper_claims"]),
        (replace(one, claims=(*one.claims, other)), ["manet_claims", "ramzi_claims"]),
    ):
        write_index(definition, tmp_path, tmp_path / "index.html")
        page = (tmp_path / "index.html").read_text(encoding="utf-8")
        assert re.findall(r'<table id="(\w+)" class="prose">', page) == names
    assert 'id="across_papers"' in page
    # Of a paper whose values could not be read there is no empty table.
    assert re.findall(r'<table id="(\w+_values)"', page) == ["manet_values"]
    assert re.findall(r"Claims of ([^:<]+) here: ", page) == ["MANet", "Ramzi et al. 2020"]
    assert "Claims of Ramzi et al. 2020" in page
