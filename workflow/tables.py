"""Tables I to IV in the paper's layout, with the paper's values and the differences beside ours.

``python -m workflow.tables --definition JSON --results results/X --configuration SHA256 --output
results/X/tables`` writes ``table_<number>.csv``, ``.md``, ``.tex`` and ``.html``. What the paired tests do
not tell apart stands in ``statistics/`` (``workflow.significance``).
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from tabulate import tabulate

from data_prep.errors import BadInput, run_command
from data_prep.files import replacing
from data_prep.further_dataset import contrasts, dataset_name, further_dataset
from data_prep.json_files import read_json
from data_prep.masks import label, parse_mask
from workflow.convergence import RULE
from workflow.csv_files import read_csv
from workflow.further_metric import further_metric
from workflow.provenance import footer
from workflow.scores import (
    ALPHA,
    Definition,
    MaskScores,
    number,
    read_definition,
    read_metrics,
    realised_acceleration,
    rises,
    summarise,
)

RESOURCES = Path(__file__).parent / "resources"
PUBLISHED = RESOURCES / "published_tables.csv"
# The paper's row names -> run ids; the CS row of Table IV is MANet itself.
PUBLISHED_METHODS = {
    "ZF": "zf",
    "UNet-T2": "unet",
    "UNet-PDFS": "unet",
    "Xiang et al.": "xiang",
    "DuDoRNet": "dudornet",
    "MANet": "manet",
    "w/o k-space": "manet-no_kspace",
    "w/o T1-GA": "manet-no_attention",
    "SC": "manet-sc",
    "CS": "manet",
    "SC-CS": "manet-sc_cs",
}
SUBJECTS = {
    "I": "Comparison of methods",
    "II": "Comparison of methods",
    "III": "Ablation of MANet",
    "IV": "Order of channel (C) and spatial (S) attention in MANet",
}
FURTHER_SUBJECT = "Comparison of methods"  # of tables that the paper does not have
DIGITS = {"ssim": 3, "psnr": 2, "nmse": 4}
IN_PAPER = ("ssim", "psnr")
ALIKE = "≈"  # beside a value that the test does not tell from the best of its column
UNDEFINED = "undefined"  # a further metric that has no value for some volume or slice
HEADERS = {"ssim": "SSIM ↑", "psnr": "PSNR ↑", "nmse": "NMSE ↓"}


def digits_of(metric: str) -> int:
    """Return the decimals in which a metric is printed."""
    return DIGITS[metric] if metric in DIGITS else further_metric(metric).digits


def header(metric: str) -> str:
    """Return a metric's name with an arrow that says which way is better."""
    if metric in HEADERS:
        return HEADERS[metric]
    found = further_metric(metric)
    return f"{found.label} {'↑' if found.rising else '↓'}"


# ---- numbers --------------------------------------------------------------------------------------


def published_values(numeral: str) -> dict[tuple[str, str], dict[str, str]]:
    """Return (mask, method id) -> the paper's printed values, as text so that digits stay as printed."""
    rows = pd.read_csv(PUBLISHED, dtype=str, keep_default_na=False)
    rows = rows[rows["table"] == numeral]
    return {
        (f"{row['mask']}_{row['acceleration']}x", PUBLISHED_METHODS[row["method"]]): {
            key: row[key] for key in ("ssim_mean", "ssim_std", "psnr_mean", "psnr_std")
        }
        for row in rows.to_dict("records")
    }


def ranks(values: Iterable[float | None], digits: int, higher_is_better: bool) -> list[int | None]:
    """Rank values as printed: 1 is best, equal printed values share a rank, None and NaN have none.

    Ranks are dense: after two bests comes rank 2, so that "second best" is the next printed value.
    """
    rounded = [None if v is None or np.isnan(v) else round(v, digits) for v in values]
    order = sorted({v for v in rounded if v is not None}, reverse=higher_is_better)
    return [None if v is None else order.index(v) + 1 for v in rounded]


def tidy_table(
    definition: Definition,
    metrics: pd.DataFrame,
    accelerations: Mapping[str, float],
    verdicts: Mapping[tuple[str, str, str], str],
) -> pd.DataFrame:
    """Return one row per mask and method: status, means, spreads, ranks, the paper's values, differences.

    Args:
        definition: the table.
        metrics: contents of ``metrics.parquet``.
        accelerations: mask -> realised acceleration.
        verdicts: (mask, metric, method) -> how the paired test tells it from the best of its column.
    """
    cells = summarise(metrics, definition, tuple(row.method for row in definition.rows))
    paper = published_values(definition.numeral)
    records = []
    for mask in definition.masks:
        column = [cells[mask, row.method] for row in definition.rows]
        placed = {
            metric: ranks([cell.mean.get(metric) for cell in column], digits_of(metric), rises(metric))
            for metric in definition.metrics
        }
        for index, (row, cell) in enumerate(zip(definition.rows, column, strict=True)):
            records.append(
                {
                    "table": definition.numeral,
                    "dataset": definition.dataset,
                    "source": definition.source,
                    "convention": definition.convention,
                    "mask": mask,
                    "acceleration": parse_mask(mask)[1],
                    "realised_acceleration": accelerations[mask],
                    "method": row.method,
                    "label": row.label,
                    "status": cell.status,
                    "seeds": " ".join(map(str, cell.seeds)),
                    "volumes": cell.volumes,
                    "units": cell.units,
                    **_numbers(cell, paper.get((mask, row.method), {}), definition.metrics),
                    **{f"{metric}_rank": placed[metric][index] for metric in definition.metrics},
                    **{
                        f"{metric}_verdict": verdicts.get((mask, metric, row.method), "")
                        for metric in definition.metrics
                    },
                }
            )
    table = pd.DataFrame.from_records(records)
    return table.astype({f"{metric}_rank": "Int64" for metric in definition.metrics})


def _numbers(cell: MaskScores, paper: dict[str, str], metrics: tuple[str, ...]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    for metric in metrics:
        numbers[f"{metric}_mean"] = cell.mean.get(metric, np.nan)
        numbers[f"{metric}_std"] = cell.std.get(metric, np.nan)
        if metric not in IN_PAPER:
            continue
        printed = paper.get(f"{metric}_mean", "")
        numbers[f"{metric}_paper_mean"] = printed
        numbers[f"{metric}_paper_std"] = paper.get(f"{metric}_std", "")
        numbers[f"{metric}_difference"] = numbers[f"{metric}_mean"] - float(printed) if printed else np.nan
    return numbers


# ---- layout ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """A cell's text and its mark: "best", "second", "muted" (the paper's values) or ""."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Block:
    """A sub-table: groups of columns under a title each, and rows of cells that run through all groups.

    The rows of ``foot`` tell of the whole columns, so that sorting leaves them where they are.
    """

    stub: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, tuple[Text, ...]], ...]
    foot: tuple[tuple[str, tuple[Text, ...]], ...] = ()


@dataclass(frozen=True)
class Page:
    """A whole table, ready to be written in any format; ``number`` or a word makes its label in LaTeX."""

    number: int | str
    name: str
    title: str
    caption: tuple[str, ...]
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    footer: str


def in_print(definition: Definition) -> tuple[str, ...]:
    """Return the metrics of which the paper prints values in this table."""
    return IN_PAPER if definition.numeral in SUBJECTS else ()


def comparison_headers(metrics: Iterable[str], in_paper: Iterable[str]) -> tuple[str, ...]:
    """Return the columns under a mask: the metrics, those of the paper with its value and the difference."""
    return tuple(
        text
        for metric in metrics
        for text in ((header(metric), "paper", "Δ") if metric in in_paper else (header(metric),))
    )


def lay_out(
    definition: Definition, table: pd.DataFrame, statistics: pd.DataFrame, footer: str, narrow: bool = False
) -> Page:
    """Arrange a tidy table as the paper does: two masks side by side; Table IV with variants as columns.

    Args:
        definition: the table.
        table: what ``tidy_table`` returns.
        statistics: what ``read_statistics`` returns.
        footer: the sentence on provenance.
        narrow: one mask per sub-table and methods as rows throughout, for screens.
    """
    records = {(row["mask"], row["method"]): row for row in table.to_dict("records")}
    masks, size = definition.masks, 1 if narrow else 2
    if definition.numeral == "IV" and not narrow:
        blocks = [_variants_block(definition, mask, records) for mask in masks]
    else:
        groups = [masks[start : start + size] for start in range(0, len(masks), size)]
        blocks = [_methods_block(definition, group, records) for group in groups]
    return Page(
        number=definition.number,
        name=f"Table {definition.numeral}",
        title=_title(definition),
        caption=_caption(definition, table, statistics),
        blocks=tuple(blocks),
        notes=_notes(definition, table),
        footer=footer,
    )


_Records = Mapping[tuple[str, str], dict[Any, Any]]


def _mask_title(row: dict[Any, Any]) -> str:
    return f"{label(row['mask'])} (realised {row['realised_acceleration']:.2f}×)"


def _comparison(row: dict[Any, Any], definition: Definition) -> tuple[Text, ...]:
    cells = []
    for metric in definition.metrics:
        cells.append(_ours(row, metric))
        if metric in in_print(definition):
            cells += [Text(_paper(row, metric), "muted"), Text(_difference(row, metric), "muted")]
    return tuple(cells)


def _methods_block(definition: Definition, masks: tuple[str, ...], records: _Records) -> Block:
    """Tables I to III: one group of columns per mask, one row per method."""
    rows = definition.rows
    headers = comparison_headers(definition.metrics, in_print(definition))
    return Block(
        stub="Method",
        groups=tuple((_mask_title(records[mask, rows[0].method]), headers) for mask in masks),
        rows=tuple(
            (
                row.label,
                tuple(cell for mask in masks for cell in _comparison(records[mask, row.method], definition)),
            )
            for row in rows
        ),
    )


def _variants_block(definition: Definition, mask: str, records: _Records) -> Block:
    """Table IV: one group of columns per variant, one row each for ours, the paper's and the difference."""
    rows, metrics = definition.rows, definition.metrics
    of_row = [records[mask, row.method] for row in rows]
    lines: tuple[tuple[str, Callable[[dict[Any, Any], str], Text]], ...] = (
        ("This run", _ours),
        ("Paper", lambda row, metric: Text(_paper(row, metric), "muted")),
        ("Δ", lambda row, metric: Text(_difference(row, metric), "muted")),
    )
    return Block(
        stub=_mask_title(of_row[0]),
        groups=tuple((row.label, tuple(map(header, metrics))) for row in rows),
        rows=tuple(
            (name, tuple(write(row, metric) for row in of_row for metric in metrics)) for name, write in lines
        ),
    )


def _ours(row: dict[Any, Any], metric: str) -> Text:
    if row["status"] == "diverged":
        return Text("diverged")
    if row["status"] == "missing":
        return Text("—")
    rank = row[f"{metric}_rank"]
    mark = "" if pd.isna(rank) else {1: "best", 2: "second"}.get(rank, "")
    mean, std, digits = row[f"{metric}_mean"], row[f"{metric}_std"], digits_of(metric)
    if np.isnan(mean):
        return Text(UNDEFINED)
    if np.isinf(mean):
        return Text(number(mean, digits), mark)
    alike = f" {ALIKE}" if row[f"{metric}_verdict"] == "not distinguishable" else ""
    return Text(f"{number(mean, digits)} ± {std:.{digits}f}{alike}", mark)


def _paper(row: dict[Any, Any], metric: str) -> str:
    mean, std = row.get(f"{metric}_paper_mean", ""), row.get(f"{metric}_paper_std", "")
    return f"{mean} ± {std}" if std else mean


def _difference(row: dict[Any, Any], metric: str) -> str:
    value = row.get(f"{metric}_difference", np.nan)
    if not np.isfinite(value):
        return ""
    # No more digits than the paper prints.
    digits = min(DIGITS[metric], len(row[f"{metric}_paper_mean"].partition(".")[2]))
    return number(value, digits, signed=True)


# ---- words ----------------------------------------------------------------------------------------

_DESCENT = {
    "ixi": "all brains descend from two variants of one population average",
    "fastmri": "all knees descend from one knee",
}


def descent(dataset: str) -> str:
    """Say what the embedded subjects of a dataset have in common."""
    return _DESCENT.get(dataset) or further_dataset(dataset).descent


def _title(definition: Definition) -> str:
    target, auxiliary = contrasts(definition.dataset)
    subject = SUBJECTS.get(definition.numeral, FURTHER_SUBJECT)
    return f"{subject}, {target} guided by {auxiliary} ({definition.data_note})"


def _caption(definition: Definition, table: pd.DataFrame, statistics: pd.DataFrame) -> tuple[str, ...]:
    name = dataset_name(definition.dataset)
    done = table[table["status"] == "ok"]
    volumes = int(done["volumes"].max()) if len(done) else 0
    units = int(done["units"].max()) if len(done) else 0
    if definition.source == "embedded":
        data = (
            f"Data: embedded semi-synthetic scans, not {name}: {descent(definition.dataset)}, so a split by "
            "subject does not separate anatomies."
        )
        difference = f"Δ: this run minus the paper, whose data is the real {name}: for orientation only."
    else:
        data = f"Data: {name}, published scans."
        difference = "Δ: this run minus the paper."
    counted = _count(volumes, "test volume")
    if definition.convention == "slice":
        counted = f"{_count(units, 'slice')} of {counted}"
    seeds = ", ".join(map(str, definition.seeds))
    if len(definition.seeds) > 1:
        seeds = f"seeds {seeds}; the scores of a {definition.convention} are averaged over seeds first"
    else:
        seeds = f"seed {seeds}"
    realised = dict(zip(table["mask"], table["realised_acceleration"], strict=True))
    return (
        data,
        _CONVENTIONS[definition.convention],
        *(f"{further_metric(m).label}: {further_metric(m).meaning}." for m in definition.further),
        f"Mean ± population standard deviation over {counted}; {seeds}.",
        "Best value of a column bold, second best underlined (as printed; equal values share the mark).",
        *significance_sentence(statistics),
        *((difference,) if in_print(definition) else ()),
        *(_MASK_INFERRED if definition.numeral == "IV" else ()),
        "Realised acceleration, ACS included: "
        + ", ".join(f"{label(mask)} {value:.2f}" for mask, value in realised.items())
        + ".",
    )


_MASK_INFERRED = (
    "The paper names no mask for this table; it is inferred: the paper's values of CS are those of MANet "
    "under 1D-Uniform-6× in Table I.",
)

_CONVENTIONS = {
    "volume": (
        "Volume convention: the data range is the maximum of the ground-truth volume; PSNR (dB) and "
        "NMSE are taken over the volume, SSIM is the mean over its slices."
    ),
    "slice": "Slice convention: every slice by itself, its ground truth's maximum as data range; PSNR in dB.",
}


def significance_sentence(statistics: pd.DataFrame) -> tuple[str, ...]:
    """Say what the mark of undistinguished values means, or that no test of the table can be significant."""
    tested = statistics[statistics["verdict"].isin([*_VERDICTS])]
    if tested.empty:
        return ()
    first = tested.iloc[0]
    tests, volumes, least = int(first["tests"]), int(tested["volumes"].max()), float(tested["least_p"].min())
    test = f"Wilcoxon signed-rank test over volumes, Holm-corrected for the table's {_count(tests, 'test')}"
    if (tested["verdict"] == "unreachable").all():
        return (
            f"Significance is out of reach with {_count(volumes, 'test volume')}: the least p of a {test}, "
            f"is {least:.3g} before and {min(1.0, tests * least):.3g} after correction; it takes "
            f"{int(first['volumes_needed'])} volumes. No difference in this table is shown to be more than "
            "chance.",
        )
    return (f"{ALIKE}: not distinguishable from the best of the column ({test}, p > {ALPHA}).",)


_VERDICTS = ("distinguishable", "not distinguishable", "unreachable")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _notes(definition: Definition, table: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    declines = {row.method: row.declines for row in definition.rows}
    for row in table[table["status"] != "ok"].to_dict("records"):
        seeds = row["seeds"].split()
        which = f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}"
        where = f"{row['label']} under {label(row['mask'])}"
        if row["status"] == "diverged":
            notes.append(f"{where}: diverged ({which} of {len(definition.seeds)}); nothing is averaged.")
        elif row["mask"] in declines[row["method"]]:
            notes.append(f"{where}: the method declines this mask ({declines[row['method']][row['mask']]}).")
        else:
            notes.append(f"{where}: no run ({which}), shown as —.")
    return tuple(notes)


def _convergence_notes(definition: Definition, results: Path) -> tuple[str, ...]:
    """Name the trainings behind the table whose run.json says that they had not converged."""
    found: dict[str, list[str]] = {}
    for row in definition.rows:
        for mask in definition.masks:
            folders = [
                results / "runs" / definition.dataset / mask / row.method / f"seed{seed}"
                for seed in definition.seeds
            ]
            records = [read_json(path) for folder in folders if (path := folder / "run.json").is_file()]
            # Methods without training have none to converge.
            if any(record.get("converged") is False for record in records):
                found.setdefault(row.label, []).append(label(mask))
    if not found:
        return ()
    everywhere = len(definition.masks)
    named = [
        f"{name} under {'every mask' if len(masks) == everywhere > 1 else ', '.join(masks)}"
        for name, masks in found.items()
    ]
    return (f"Not converged: {'; '.join(named)}. There, {RULE}: longer training would change the scores.",)


# ---- formats --------------------------------------------------------------------------------------


def to_markdown(page: Page) -> str:
    """Return a narrow page as Markdown; bold is best, italics is second best."""
    marks = {"best": "**{}**", "second": "*{}*"}
    parts = [f"**{page.name}. {page.title}**", ""]
    for block in page.blocks:
        ((heading, headers),) = block.groups
        body = [
            [markdown(name), *(marks.get(cell.mark, "{}").format(markdown(cell.text)) for cell in cells)]
            for name, cells in (*block.rows, *block.foot)
        ]
        align = ["left", *["right"] * len(headers)]
        grid = tabulate(body, [block.stub, *headers], tablefmt="pipe", colalign=align, disable_numparse=True)
        parts += [f"**{heading}**", "", grid, ""]
    caption = " ".join(page.caption).replace("second best underlined", "second best in italics")
    parts += [markdown(caption), ""]
    parts += [f"- {markdown(note)}" for note in page.notes] + ([""] if page.notes else [])
    parts += [markdown(page.footer), ""]
    return "\n".join(parts)


def markdown(text: str) -> str:
    """Escape text for Markdown."""
    for character in "\\|*_<":
        text = text.replace(character, "\\" + character)
    return text


_TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "—": "---",
    "≈": r"$\approx$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "∞": r"$\infty$",
    "Δ": r"$\Delta$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "τ": r"$\tau$",
    "≥": r"$\geq$",
    "°": r"$^\circ$",
    "·": r"$\cdot$",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}


def tex_escape(text: str) -> str:
    """Escape text for LaTeX, mathematical signs of the tables included."""
    return "".join(_TEX.get(character, character) for character in text)


def _tex_cell(cell: Text) -> str:
    commands = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
    return commands.get(cell.mark, "%s") % tex_escape(cell.text).replace(r" $\pm$ ", r"${\pm}$")


def _environment(**options: Any) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(RESOURCES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def to_latex(page: Page) -> str:
    """Return a page as a ``table*`` environment for documents that load booktabs and graphicx."""
    environment = _environment(
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
    environment.filters |= {"tex": tex_escape, "texcell": _tex_cell}
    return environment.get_template("table.tex.j2").render(page=page)


def to_html(page: Page) -> str:
    """Return a narrow page as one self-contained HTML document; wide screens show two masks side by side."""
    return template("table.html.j2").render(page=page)


def template(name: str) -> jinja2.Template:
    """Return one of the HTML templates, which escapes what is put into it."""
    return _environment(autoescape=True).get_template(name)


# ---- command --------------------------------------------------------------------------------------


def read_statistics(path: Path) -> pd.DataFrame:
    """Read a table's ``statistics/table_<number>.csv``.

    Raises:
        BadInput: the file is missing or damaged, or lacks a column.
    """
    columns = dict.fromkeys(("mask", "metric", "method", "verdict"), "string")
    columns |= dict.fromkeys(("volumes", "tests", "least_p", "volumes_needed"), "float64")
    again = "delete it and make it again with workflow.significance"
    return read_csv(path, columns, "run workflow.significance first", again)


def write_table(definition: Definition, results: Path, configuration: str, output: Path) -> None:
    """Write one table as CSV, Markdown, LaTeX and HTML into the folder ``output``.

    Args:
        definition: the table.
        results: folder of the experiment.
        configuration: sha256 of its configuration, for the footer.
        output: folder to write into.

    Raises:
        BadInput: an input is missing or does not fit.
    """
    if definition.numeral not in (*SUBJECTS, str(definition.number)):
        raise BadInput(
            f"--definition: numeral {definition.numeral!r} is unknown; give {', '.join(SUBJECTS)}, or the "
            "number of a table that the paper does not have"
        )
    folder = results / "masks" / definition.dataset
    accelerations = {mask: realised_acceleration(folder, mask) for mask in definition.masks}
    statistics = read_statistics(results / "statistics" / f"table_{definition.number}.csv")
    verdicts = {
        (row["mask"], row["metric"], row["method"]): row["verdict"] for row in statistics.to_dict("records")
    }
    table = tidy_table(definition, read_metrics(results / "metrics.parquet"), accelerations, verdicts)
    origin = footer(
        results,
        definition.experiment,
        definition.dataset,
        {mask: label(mask) for mask in definition.masks},
        definition.run_paths,
        configuration,
    )
    unconverged = _convergence_notes(definition, results)
    wide, narrow = (
        replace(page, notes=page.notes + unconverged)
        for page in (lay_out(definition, table, statistics, origin, narrow=small) for small in (False, True))
    )
    texts = {
        "csv": table.to_csv(index=False, float_format="%.9g", lineterminator="\n"),
        "md": to_markdown(narrow),
        "tex": to_latex(wide),
        "html": to_html(narrow),
    }
    for suffix, text in texts.items():
        with replacing(output / f"table_{definition.number}.{suffix}") as temporary:
            temporary.write_text(text, encoding="utf-8")


def main() -> None:
    """Command line entry point."""
    parser = argparse.ArgumentParser(prog="python -m workflow.tables", description=__doc__)
    parser.add_argument("--definition", required=True, help="the table as JSON, as workflow.plan defines it")
    parser.add_argument("--results", required=True, type=Path, help="folder of the experiment")
    parser.add_argument("--configuration", required=True, help="sha256 of the configuration, for the footer")
    parser.add_argument("--output", required=True, type=Path, help="folder to write table_<number>.* into")
    arguments = parser.parse_args()
    write_table(
        read_definition(arguments.definition), arguments.results, arguments.configuration, arguments.output
    )


if __name__ == "__main__":
    run_command(main)
