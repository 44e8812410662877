"""Training curves: what is marked, how panels are divided, and that the figure prints well."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_results import run_record
from matplotlib.text import Text
from published_masks import MASKS
from tiny_runs import tiny_spec

from data_prep.errors import BadInput
from data_prep.io.json_files import to_json
from workflow.figures import style
from workflow.figures.curves import curves_of_plan, curves_of_runs
from workflow.figures.training_curves import draw, leaving, panels, save_each
from workflow.plan.definitions import Curve

METHODS = {"unet": "UNet-T2", "xiang": "Xiang et al.", "dudornet": "DuDoRNet", "manet": "MANet"}
MASK = "1d_uniform_6x"


def write_history(root, mask, method, seed=0, epochs=6, best=4, diverges=False):
    """A training whose lowest validation loss is at epoch ``best``; PSNR keeps rising."""
    epoch = np.arange(1, epochs + 1)
    loss = 0.05 + 0.01 * np.abs(epoch - best)
    history = pd.DataFrame(
        {
            "epoch": epoch,
            "train_loss": 0.9 * loss,
            "val_loss": loss,
            "val_psnr": 28 + 0.3 * epoch + 0.1 * len(method),
            "learning_rate": 1e-3,
            "seconds": 1.0,
        }
    )
    if diverges:
        history.loc[epochs - 2 :, ["train_loss", "val_loss", "val_psnr"]] = np.nan
    dataset = "ixi" if mask in MASKS["ixi"] else "fastmri"
    folder = root / "runs" / dataset / mask / method / f"seed{seed}"
    folder.mkdir(parents=True)
    history.to_csv(folder / "history.csv", index=False)
    spec = tiny_spec(dataset=dataset, mask=mask, method=method, seed=seed).content()
    (folder / "run.json").write_text(json.dumps(run_record(spec=spec)))
    return folder


def plan_of(rows):
    """The JSON of a plan: rows of mask, method, label and seed."""
    return to_json([Curve(*row[:3], int(row[3])) for row in rows])


def drawn(curves):
    with style.printed():
        figure = draw(curves)
        figure.canvas.draw()
    return figure


def shown(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def marked(axes, marker):
    return [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == marker]


def test_the_marker_of_a_training_that_has_not_converged_is_open_and_explained(tmp_path):
    rests = write_history(tmp_path, MASK, "unet", epochs=12, best=7)
    falls = write_history(tmp_path, MASK, "xiang", epochs=12, best=12)
    fails = write_history(tmp_path, MASK, "manet", epochs=12, best=12, diverges=True)
    figure = drawn(curves_of_runs([rests, falls, fails]))
    faces = {
        line.get_marker(): line.get_markerfacecolor()
        for line in figure.axes[0].lines
        if line.get_marker() in ("o", "s")
    }
    assert faces == {"o": style.LINE_COLOURS[0], "s": "white"}
    assert "not converged, 1 of 2 trainings" in " ".join(text.get_text() for text in reversed(figure.texts))
    assert "converged" not in " ".join(shown(drawn(curves_of_runs([rests]))))


def test_the_epoch_of_the_lowest_validation_loss_is_marked(tmp_path):
    write_history(tmp_path, MASK, "unet", best=3)
    write_history(tmp_path, MASK, "manet", best=5)
    plan = plan_of([[MASK, "unet", "UNet-T2", "0"], [MASK, "manet", "MANet", "0"]])
    curves = curves_of_plan(tmp_path, "ixi", plan)
    upper, lower = drawn(curves).axes
    assert marked(upper, style.line_style(0)["marker"]) == [(3, pytest.approx(28 + 0.9 + 0.4))]
    assert marked(upper, style.line_style(1)["marker"]) == [(5, pytest.approx(28 + 1.5 + 0.5))]
    # Losses are relative to the first validation loss: 0.05 / 0.07 at the best of the first training.
    assert marked(lower, style.line_style(0)["marker"]) == [(3, pytest.approx(0.05 / 0.07))]


def test_training_and_validation_losses_share_their_unit(tmp_path):
    write_history(tmp_path, MASK, "unet", best=3)
    (curve,) = curves_of_plan(tmp_path, "ixi", plan_of([[MASK, "unet", "UNet-T2", "0"]]))
    lower = drawn([curve]).axes[1]
    lines = [line.get_ydata() for line in lower.lines if len(line.get_xdata()) == 6]
    train, val = sorted(lines, key=lambda values: values[0])
    assert val[0] == pytest.approx(1)
    np.testing.assert_allclose(train, 0.9 * val)


def test_a_diverged_training_ends_in_a_cross(tmp_path):
    write_history(tmp_path, MASK, "unet", diverges=True)
    write_history(tmp_path, MASK, "manet")
    curves = curves_of_plan(
        tmp_path, "ixi", plan_of([[MASK, "unet", "UNet-T2", "0"], [MASK, "manet", "MANet", "0"]])
    )
    assert [curve.diverged for curve in curves] == [True, False]
    upper = drawn(curves).axes[0]
    assert marked(upper, "x") == [(4, pytest.approx(28 + 1.2 + 0.4))]
    assert marked(upper, style.line_style(0)["marker"]) == []


def test_a_training_without_one_finite_loss_is_drawn_without_a_mark(tmp_path):
    folder = write_history(tmp_path, MASK, "unet", epochs=2, diverges=True)
    figure = drawn(curves_of_runs([folder]))
    assert marked(figure.axes[0], "x") == []


def test_a_curve_that_leaves_its_panel_is_marked_where_it_does(tmp_path):
    folders = [write_history(tmp_path, MASK, method, epochs=30) for method in METHODS]
    path = folders[0] / "history.csv"
    history = pd.read_csv(path)
    history.loc[9, "val_psnr"] = -10.0  # epoch 10 alone is far below all others
    history.loc[0, "train_loss"] = 30.0  # and the first training loss far above
    history.to_csv(path, index=False)
    upper, lower = drawn(curves_of_runs(folders)).axes
    low = upper.get_ylim()[0]
    (down, up), said = sorted(marked(upper, "v")), "small triangle: leaves the panel"
    assert 9 < down[0] < 10 < up[0] < 11
    assert down[1] == up[1] == low > -10
    ((epoch, place),) = [mark for mark in marked(lower, "^") if mark[1] == lower.get_ylim()[1]]
    assert 1 < epoch < 2 < place + 1
    assert said in " ".join(shown(drawn(curves_of_runs(folders))))


def test_where_a_curve_crosses_the_ends_of_its_scale():
    epochs = np.array([1.0, 2.0, 3.0])
    assert leaving(epochs, np.array([0.0, 2.0, 0.0]), (-1.0, 1.0)) == [(1.5, True), (2.5, True)]
    assert leaving(epochs, np.array([0.0, -2.0, 2.0]), (-1.0, 1.0)) == [
        (1.5, False),
        (2.25, False),
        (2.75, True),
    ]
    assert leaving(epochs, np.array([0.0, 1.0, -1.0]), (-1.0, 1.0)) == []
    assert leaving(epochs, np.array([5.0, 4.0, 5.0]), (-1.0, 1.0)) == [(3.0, True)]
    assert leaving(epochs, np.array([0.0, np.nan, np.nan]), (-1.0, 1.0)) == []


def test_one_training_alone_stays_within_its_panels(tmp_path):
    folder = write_history(tmp_path, MASK, "unet", epochs=30)
    history = pd.read_csv(folder / "history.csv")
    history.loc[0, ["train_loss", "val_psnr"]] = [30.0, -10.0]
    history.to_csv(folder / "history.csv", index=False)
    upper, lower = drawn(curves_of_runs([folder])).axes
    assert marked(upper, "v") == marked(lower, "^") == []


def test_seeds_are_told_apart_where_there_are_several(tmp_path):
    for seed in (0, 7):
        write_history(tmp_path, MASK, "manet", seed=seed)
    both = curves_of_plan(
        tmp_path, "ixi", plan_of([[MASK, "manet", "MANet", "0"], [MASK, "manet", "MANet", "7"]])
    )
    assert [curve.name for curve in both] == ["MANet, seed 0", "MANet, seed 7"]
    (one,) = curves_of_plan(tmp_path, "ixi", plan_of([[MASK, "manet", "MANet", "7"]]))
    assert one.name == "MANet"


def test_seeds_of_a_method_share_one_look_and_one_word_in_the_legend(tmp_path):
    plan = []
    for number in range(8):
        for seed in range(3):
            write_history(tmp_path, MASK, f"method{number}", seed=seed)
            plan.append([MASK, f"method{number}", f"Method {number}", str(seed)])
    curves = curves_of_plan(tmp_path, "ixi", plan_of(plan))
    figure = drawn(curves)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"Method {number}" for number in range(8)]
    assert "its seeds" in " ".join(shown(figure))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 1]
    assert len(lines) == 24
    assert len({line.get_color() + repr(line.get_linestyle()) for line in lines}) == 8


def test_embedded_data_is_labelled(tmp_path):
    write_history(tmp_path, MASK, "manet")
    curves = curves_of_plan(tmp_path, "ixi", plan_of([[MASK, "manet", "MANet", "0"]]))
    with style.printed():
        figure = draw(curves, "embedded data, not IXI")
    (note,) = [text for text in figure.texts if text.get_text() == "embedded data, not IXI"]
    figure.canvas.draw()
    others = [text.get_window_extent() for text in figure.texts if text is not note]
    assert not any(note.get_window_extent().overlaps(box) for box in others)
    assert not any("embedded" in word for word in shown(drawn(curves)))


def test_run_folders_are_known_by_their_record_not_their_path(tmp_path):
    folder = write_history(tmp_path, "2d_spiral_9x", "dudornet", seed=3)
    moved = tmp_path / "elsewhere"
    folder.rename(moved)
    (curve,) = curves_of_runs([moved])
    assert (curve.mask, curve.method, curve.name) == ("2d_spiral_9x", "dudornet", "dudornet, seed 3")


def many(tmp_path):
    """All IXI masks with four methods, and one mask with many variants."""
    plan = []
    for mask in MASKS["ixi"]:
        for method, label in METHODS.items():
            write_history(tmp_path, mask, method)
            plan.append([mask, method, label, "0"])
    for number in range(10):
        write_history(tmp_path, MASK, f"manet-a0.{number}-b0.6", best=2 + number % 4)
        plan.append([MASK, f"manet-a0.{number}-b0.6", f"alpha 0.{number}, beta 0.6", "0"])
    return curves_of_plan(tmp_path, "ixi", plan_of(plan))


def test_many_variants_get_a_panel_of_their_own(tmp_path):
    curves = many(tmp_path)
    titles = [title for title, _ in panels(curves)]
    assert len(titles) == 9
    assert titles[:2] == ["1D-Uniform-6×", "1D-Uniform-6×, variants"]
    assert sum(len(of_panel) for _, of_panel in panels(curves)) == len(curves)
    words = shown(drawn(curves))
    # Best and worst by the PSNR of their best epochs: epochs 5 and 2.
    assert "best: alpha 0.7, beta 0.6" in words or "best: alpha 0.3, beta 0.6" in words
    assert any(word.startswith("worst: alpha 0.") for word in words)
    assert "8 others" in words


@pytest.mark.parametrize("case", ["many", "one"])
def test_no_text_is_cut_off_or_overlaps_another(tmp_path, case):
    if case == "many":
        curves = many(tmp_path)
    else:
        curves = curves_of_runs([write_history(tmp_path, MASK, "manet", epochs=1, best=1)])
    figure = drawn(curves)
    assert figure.get_size_inches()[0] <= style.PAGE_WIDTH
    assert figure.get_size_inches()[1] <= style.PAGE_HEIGHT
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    # Tick labels beyond the axes' limits exist but are not drawn.
    boxes = [(text, box) for text, box in boxes if box.width > 0 and not outside(figure, text, box)]
    for text, box in boxes:
        assert box.x0 >= 0, text
        assert box.x1 <= figure.bbox.x1, text
        assert box.y0 >= 0, text
        assert box.y1 <= figure.bbox.y1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        across, along = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert across <= 0.5 or along <= 2, f"{one!r} overlaps {other!r}"


def outside(figure, text, box):
    try:
        float(text.replace("−", "-"))
    except ValueError:
        return False
    drawn_ticks = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high and tick.label1.get_visible():
                    drawn_ticks.append(tuple(tick.label1.get_window_extent().bounds))
    return tuple(box.bounds) not in drawn_ticks


def test_the_command_writes_png_and_pdf_the_same_in_every_process(tmp_path):
    folders = [write_history(tmp_path, MASK, method) for method in ("unet", "manet")]
    output = tmp_path / "figures" / "curves.png"
    subprocess.run(
        [
            *(sys.executable, "-m", "workflow.figures.training_curves", "--output", str(output)),
            *("--runs", *map(str, folders)),
        ],
        cwd=Path(__file__).parents[3],
        check=True,
    )
    with style.printed():
        style.save(draw(curves_of_runs(folders)), tmp_path / "again" / "curves")
    found = {path.name: path.read_bytes() for path in output.parent.iterdir()}
    assert sorted(found) == ["curves.pdf", "curves.png"]
    assert found == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}


def test_each_training_is_drawn_alone_on_demand(tmp_path):
    for method in ("unet", "manet"):
        for seed in (0, 1):
            write_history(tmp_path, MASK, method, seed=seed)
    plan = plan_of([[MASK, method, METHODS[method], seed] for method in ("unet", "manet") for seed in (0, 1)])
    curves = curves_of_plan(tmp_path, "ixi", plan)
    with style.printed():
        save_each(curves, tmp_path / "each")
    found = {path.relative_to(tmp_path / "each").as_posix() for path in (tmp_path / "each").rglob("*.*")}
    assert found == {f"{MASK}/{method}/seed{seed}.png" for method in ("unet", "manet") for seed in (0, 1)}


def test_unusable_inputs_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"run\.json: no such file"):
        curves_of_runs([tmp_path])
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BadInput, match="field spec"):
        curves_of_runs([tmp_path])
    with pytest.raises(BadInput, match=r"--plan: field \[0\] is .*, not an object"):
        curves_of_plan(tmp_path, "ixi", '[["1d_uniform_6x"]]')
    with pytest.raises(BadInput, match=r"manet/seed0/history\.csv: no such file"):
        curves_of_plan(tmp_path, "ixi", plan_of([[MASK, "manet", "MANet", "0"]]))
    folder = write_history(tmp_path, MASK, "manet")
    history = pd.read_csv(folder / "history.csv")
    history.iloc[:0].to_csv(folder / "history.csv", index=False)
    with pytest.raises(BadInput, match="no epoch was finished"):
        curves_of_runs([folder])
    history.drop(columns="val_psnr").to_csv(folder / "history.csv", index=False)
    with pytest.raises(BadInput, match="column val_psnr"):
        curves_of_runs([folder])


@pytest.mark.parametrize("line", [b"2,1,1,1,1,1,1,1,1\n", b"2,\xff,1,1\n", b"2,text,1,1\n", None])
def test_a_damaged_history_is_named(tmp_path, line):
    folder = write_history(tmp_path, MASK, "manet")
    path = folder / "history.csv"
    path.write_bytes(b"" if line is None else path.read_bytes() + line)
    with pytest.raises(BadInput, match=r"history\.csv: not a table \(.*\); train this run again"):
        curves_of_runs([folder])
