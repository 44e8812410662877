"""What one of two compared folders holds, which others may have made."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from data_prep.errors import BadInput
from data_prep.io.files import read_rows
from data_prep.io.frames import read_parquet
from data_prep.io.hashes import file_sha256
from data_prep.io.json_files import check_fields, read_json
from data_prep.masks.from_file import register_unknown
from workflow.metrics.contract import KEY_COLUMNS, STANDARD, metrics
from workflow.provenance.files import FILE
from workflow.provenance.record import CodeVersion, read_run

# What others wrote becomes part of paths and of titles.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_MOST_RUNS = 10_000
AGAIN = "ask for the folder as the workflow left it, or run the workflow to its end again"
_ROW = ["dataset", "mask", "method", "seed", "level", "subject", "slice"]
SIDES = ("a", "b")


@dataclass(frozen=True)
class RunFacts:
    """What a run's record says of where its scores are from; ``provenance.json`` has more beside it."""

    code: CodeVersion
    data_fingerprints: dict[str, str]
    mask_sha256: str
    packages: dict[str, str]
    device: str


_TOLD = {
    "configuration": dict[str, Any],
    "code.sources": dict[str, str],
    "packages": dict[str, str],
    "runs": dict[str, RunFacts],
    "outputs": dict[str, str],
}


@dataclass(frozen=True)
class Side:
    """One of the two folders.

    Attributes:
        folder: of the results.
        scores: contents of ``metrics.parquet``.
        runs: dataset/mask/method/seed<k> -> the fields of ``RunFacts``.
        told: ``provenance.json``; empty if there is none.
    """

    folder: Path
    scores: pd.DataFrame
    runs: dict[str, dict[str, Any]]
    told: dict[str, Any] = field(default_factory=dict)

    def facts(self, dataset: str, mask: str = "") -> list[dict[str, Any]]:
        """Return what the runs of a dataset, or those under one of its masks, say."""
        start = f"{dataset}/{mask}/" if mask else f"{dataset}/"
        return [facts for name, facts in self.runs.items() if name.startswith(start)]

    def tests(self, dataset: str) -> tuple[set[str], set[str]]:
        """Return the ids of the test subjects, and the fingerprints of the test split."""
        own = self.scores[self.scores["dataset"] == dataset]
        found = {facts["data_fingerprints"].get("test", "") for facts in self.facts(dataset)}
        return set(own["subject"]), found

    @property
    def convention(self) -> str | None:
        """In which convention the folder's tables are, if it tells."""
        told = self.told.get("configuration", {}).get("metric_convention")
        return told if told in ("volume", "slice") else None

    def scans(self, dataset: str) -> dict[str, tuple[str, str]]:
        """Return test subject -> checksums of its two scans; nothing where no manifest tells."""
        path = self.folder / "data" / dataset / "manifest.csv"
        if not path.is_file():
            return {}
        rows = read_rows(path, AGAIN, AGAIN)
        for row in rows:
            check_fields(row, ("subject", "split", "target_sha256", "auxiliary_sha256"), path, AGAIN)
        return {
            row["subject"]: (row["target_sha256"], row["auxiliary_sha256"])
            for row in rows
            if row["split"] == "test"
        }


def read_side(folder: Path) -> Side:
    """Read one of the two folders.

    Raises:
        BadInput: it is no folder of results, a file is damaged, or the scores are not those of its runs.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the results of an experiment, such as results/demo")
    path = folder / "metrics.parquet"
    scores, gathered = _read_scores(path)
    register_unknown(scores["mask"].unique())
    names = (f"{d}/{m}/{method}/seed{seed}" for d, m, method, seed in _runs_of(scores))
    if (folder / FILE).is_file():
        told = read_json(folder / FILE, damaged=AGAIN, fields=_TOLD)
        if told["outputs"].get(path.name) != file_sha256(path):
            raise BadInput(
                f"{path}: this is not the file that {FILE} beside it lists; run the workflow to its end "
                f"again, or delete {FILE}"
            )
        known = told["runs"]
    else:
        told, known = {}, {}
        for name in names:
            record = read_run(folder / "runs" / name)
            if gathered.get(name) != record.outputs.get("metrics.csv"):
                raise BadInput(
                    f"{path}: holds other scores of runs/{name} than its run.json tells of; {AGAIN}"
                )
            known[name] = vars(record) | {"code": vars(record.code)}
        return Side(folder, scores, known)
    for name in names:
        if name not in known:
            raise BadInput(f"{folder / FILE}: does not tell of runs/{name}, whose scores are there; {AGAIN}")
    return Side(folder, scores, known, told)


def _runs_of(scores: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    return scores[["dataset", "mask", "method", "seed"]].drop_duplicates().itertuples(index=False, name=None)


def _read_scores(path: Path) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Return the rows of ``metrics.parquet`` with the types that they should have, and what was gathered."""
    table = read_parquet(path, "workflow.statistics.gather", (*KEY_COLUMNS, *STANDARD))
    gathered = table.attrs.get("runs", {})
    kinds = KEY_COLUMNS | {name: "float64" for name in metrics() if name in table.columns}
    try:
        table = table[[*kinds]].astype(kinds)
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path}: a column is not of its type ({error}); {AGAIN}") from error
    for column in ("dataset", "mask", "method"):
        for name in table[column].unique():
            if not _ID.fullmatch(str(name)):
                raise BadInput(f"{path}: {column} {str(name)[:60]!r} is no id; {AGAIN}")
    if table.duplicated(_ROW).any():
        raise BadInput(f"{path}: a slice or volume of a run is there twice; {AGAIN}")
    if not 0 < len(list(_runs_of(table))) <= _MOST_RUNS:
        raise BadInput(f"{path}: holds no run, or more than {_MOST_RUNS}; {AGAIN}")
    return table, gathered if isinstance(gathered, Mapping) else {}


def shared(a: Side, b: Side, column: str, dataset: str = "") -> list[str]:
    """Return what stands in a column of both folders, in the first one's order; perhaps of one dataset."""
    chosen = [s.scores if not dataset else s.scores[s.scores["dataset"] == dataset] for s in (a, b)]
    other = set(chosen[1][column])
    return [str(name) for name in chosen[0][column].unique() if name in other]
