"""Figures 1 and 5 to 9: what they show, on which scales, and that nothing is cut or overlaps."""

import os
import subprocess
import sys
from functools import cache
from itertools import combinations
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from made_up_results import (
    ABLATION,
    LABELS,
    definition,
    grid_points,
    loss_weights,
    metric_rows,
    phantom,
    read_definition,
    write_examples,
    write_records,
)
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from data_prep.errors import BadInput
from workflow.evaluate.examples import error_limit, read_blocks, window
from workflow.figures import __main__ as figures
from workflow.figures import style
from workflow.figures.canvas import fitted, text_width
from workflow.figures.sheet import sheet

FIVE = LABELS["ixi"]
EXTRA = {
    "a": "A method with a very long name indeed",
    "b": "Xyzzyphotoreconstructomatic",
    "c": "C",
    "d": "VarNet, 8 cascades",
}
ONE_D = ("1d_uniform_6x", "1d_random_3x")
FOUR = ("1d_uniform_6x", "1d_random_3x", "2d_radial_6x", "2d_spiral_6x")
WEIGHTS = (0.2, 0.4, 0.6, 0.8)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for mask in FOUR:
        for method in {**FIVE, **ABLATION, **EXTRA}:
            write_examples(root, "ixi", mask, method)
    for method in FIVE:
        write_examples(root, "fastmri", "equispaced_4x", method, subject="file9000003")
    methods = [point["method"] for point in grid_points(WEIGHTS, WEIGHTS)]
    metric_rows("fastmri", ["equispaced_4x"], methods).to_parquet(root / "metrics.parquet")
    return root


CASES = {
    "1": definition(1, "ixi", ONE_D[1:], {"zf": "ZF"}),
    "5": definition(5, "ixi", ONE_D, FIVE),
    "5 with many methods": definition(5, "ixi", ONE_D, {**FIVE, **EXTRA}),
    "6 with one method": definition(6, "ixi", FOUR[2:3], {"zf": "ZF"}),
    "7": definition(7, "fastmri", ["equispaced_4x"], LABELS["fastmri"]),
    "8": definition(8, "ixi", FOUR, ABLATION),
    "9": loss_weights(WEIGHTS, WEIGHTS),
    "9 small": loss_weights((0.2, 0.4), (0.4, 0.6)),
    "9 of one point": loss_weights((0.4,), (0.6,)),
}


@pytest.mark.parametrize("label", [r"$\write18{}$", "$x$ and $", "$$", r"\$5"])
def test_a_label_is_drawn_as_it_is_written(label, tmp_path):
    with style.printed():
        figure = style.new_figure(2, 1)
        text = figure.text(0, 0, label)
        style.save(figure, tmp_path / "figure")
        assert text_width(label, 7) > 0
    assert (tmp_path / "figure.pdf").is_file()
    assert not text.get_parse_math()


@cache
def drawn(text, results):
    with style.printed():
        figure = figures.draw(read_definition(text), results)
        figure.canvas.draw()
    return figure


def texts(figure):
    return [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def words(figure):
    return " ".join(text.get_text() for text in texts(figure))


def images(figure, colours):
    return [image for axes in figure.axes for image in axes.images if image.get_cmap().name == colours]


# ---- print quality --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_no_text_is_cut_off_or_overlaps_another(case, results):
    figure = drawn(CASES[case], results)
    canvas = figure.bbox
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    boxes = [(text, box) for text, box in boxes if box.width > 0]
    assert len(boxes) >= 3
    for text, box in boxes:
        assert box.x0 >= canvas.x0, text
        assert box.y0 >= canvas.y0, text
        assert box.x1 <= canvas.x1, text
        assert box.y1 <= canvas.y1, text
    for (one, a), (other, b) in combinations(boxes, 2):
        across = min(a.x1, b.x1) - max(a.x0, b.x0)
        along = min(a.y1, b.y1) - max(a.y0, b.y0)
        # Boxes hold room for ascenders and descenders that most words lack.
        assert across <= 0.5 or along <= 2, f"{one!r} overlaps {other!r}"


@pytest.mark.parametrize("case", CASES)
def test_fonts_and_sizes_are_those_of_a_journal(case, results):
    figure = drawn(CASES[case], results)
    width, height = figure.get_size_inches()
    assert width <= style.PAGE_WIDTH + 1e-6
    assert height <= style.PAGE_HEIGHT + 1e-6
    if case in ("1", "9", "9 small"):
        assert width == style.COLUMN_WIDTH
    if case in ("5", "7", "8"):
        assert width == pytest.approx(style.PAGE_WIDTH)
    for text in texts(figure):
        assert 5.5 <= text.get_fontsize() <= 8
        assert "DejaVu Sans" in text.get_fontfamily()


@pytest.mark.parametrize("case", ["5", "5 with many methods", "7", "8"])
def test_panels_are_aligned_and_do_not_overlap(case, results):
    figure = drawn(CASES[case], results)
    boxes = [axes.get_position() for axes in figure.axes if axes.images]
    assert len({round(box.width, 9) for box in boxes}) == 1
    assert len({round(box.height, 9) for box in boxes}) == 1
    for a, b in combinations(boxes, 2):
        assert min(a.x1, b.x1) <= max(a.x0, b.x0) or min(a.y1, b.y1) <= max(a.y0, b.y0)
    # Pixels are square: a panel has the shape of its image.
    width, height = figure.get_size_inches()
    rows, columns = phantom()[0].shape
    assert boxes[0].height * height / (boxes[0].width * width) == pytest.approx(rows / columns)


def test_panels_lie_in_the_same_place_whatever_last_bits_the_solver_leaves(monkeypatch):
    solve, places = ConstrainedLayoutEngine.execute, []
    for nudge in (0, 2e-14):

        def solved(engine, figure, nudge=nudge):
            solve(engine, figure)
            for axes in figure.axes:
                points = axes.get_position(original=True).get_points()
                axes.set_position(Bbox(points + nudge), which="original")
                axes.set_in_layout(True)

        monkeypatch.setattr(ConstrainedLayoutEngine, "execute", solved)
        figure, panels = sheet([], ["small print"], "", [1, 2], [1, 1], 0.5)
        figure.draw_without_rendering()
        places.append([axes.get_position(original=True).get_points().tolist() for axes in panels.flat])
    assert places[0] == places[1]


def test_files_are_the_same_bytes_whenever_and_wherever_they_are_made(results, tmp_path):
    found = []
    text = definition(5, "ixi", ONE_D[:1], FIVE)
    write_records(results, read_definition(text))
    for name, environment in (("a", {}), ("b", {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LANG": "C"})):
        # A user's own settings must not show either.
        config = tmp_path / name / "matplotlibrc"
        config.parent.mkdir()
        config.write_text("font.size: 20\nsavefig.bbox: tight\n" if name == "b" else "")
        subprocess.run(
            [
                *(sys.executable, "-m", "workflow.figures"),
                *("--definition", text),
                *("--results", str(results), "--output", str(tmp_path / name / "figures")),
            ],
            cwd=Path(__file__).parents[3],
            env={**os.environ, **environment, "MATPLOTLIBRC": str(config)},
            check=True,
        )
        found.append({path.name: path.read_bytes() for path in (tmp_path / name / "figures").iterdir()})
    assert found[0] == found[1]
    assert sorted(found[0]) == ["figure_5.pdf", "figure_5.png"]
    for content in found[0].values():
        assert b"Date" not in content
    with Image.open(tmp_path / "a" / "figures" / "figure_5.png") as image:
        assert image.width == round(style.PAGE_WIDTH * 300)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


# ---- scales ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["5", "5 with many methods", "8"])
def test_error_maps_share_one_scale_and_are_fractions_of_the_slice_maximum(case, results):
    wanted = read_definition(CASES[case])
    figure = drawn(CASES[case], results)
    maps = images(figure, style.ERROR_COLOURS)
    assert len(maps) == len(wanted.masks) * len(wanted.rows)
    (limits,) = {image.get_clim() for image in maps}
    assert limits[0] == 0
    expected = []
    for mask in wanted.masks:
        for row in wanted.rows:
            with np.load(results / "runs/ixi" / mask / row.method / "seed0/examples.npz") as arrays:
                error = np.abs(arrays["reconstruction"][0] - arrays["target"][0]) / arrays["target"][0].max()
            expected.append(error)
    for image, error in zip(maps, expected, strict=True):
        np.testing.assert_allclose(image.get_array(), error, rtol=1e-5, atol=1e-7)
    # The colour bars say the unit and end where the maps do.
    bars = [axes for axes in figure.axes if axes.get_ylabel()]
    assert len(bars) == 1
    for bar in bars:
        assert "slice maximum" in bar.get_ylabel().replace("\n", " ")
        assert [float(label.get_text()) for label in bar.get_yticklabels()] == pytest.approx(
            [0, limits[1] / 2, limits[1]], rel=1e-2
        )


def test_reconstructions_share_the_window_of_the_ground_truth(results):
    figure = drawn(CASES["5"], results)
    target, auxiliary = phantom()
    grey = [image for image in images(figure, "gray") if image.get_array().dtype != bool]
    of_target = [image for image in grey if image.get_clim() == window(target)]
    assert len(of_target) == 1 + 2 * len(FIVE)
    others = [image for image in grey if image.get_clim() != window(target)]
    assert len(others) == 1
    for image in others:
        np.testing.assert_array_equal(image.get_array(), auxiliary)


@pytest.mark.parametrize(("other", "times"), [("IXI900", 1), ("IXI902", len(FOUR))])
def test_what_is_the_same_under_all_masks_is_shown_once(other, times, tmp_path):
    for mask, subject in zip(FOUR, ("IXI900", *[other] * 3), strict=True):
        for method in ABLATION:
            write_examples(tmp_path, "ixi", mask, method, subject=subject)
    figure = drawn(definition(8, "ixi", FOUR, ABLATION), tmp_path)
    shown = [text.get_text() for text in texts(figure)]
    assert [shown.count(word) for word in ("T1", "T2", "Ground truth")] == [times] * 3
    assert len([axes for axes in figure.axes if axes.get_ylabel()]) == times
    assert shown.count("Mask") == len(FOUR)


@pytest.mark.parametrize("case", ["1", "5", "7", "8"])
def test_slices_are_enlarged_smoothly_which_is_said_and_masks_are_not(case, results):
    figure = drawn(CASES[case], results)
    shown = [image for axes in figure.axes if not axes.get_ylabel() for image in axes.images]
    for image in shown:
        kind = "nearest" if image.get_array().dtype == bool else "bicubic"
        assert image.get_interpolation() == kind
    height, width = phantom()[0].shape
    assert f"{height} × {width} pixels, drawn by bicubic interpolation" in words(figure)


def test_the_error_scale_grows_with_the_error(tmp_path):
    limits = []
    for share in (0.05, 0.4, 1.0):
        root = tmp_path / str(share)
        write_examples(root, "ixi", ONE_D[0], "manet", error=share)
        wanted = read_definition(definition(5, "ixi", ONE_D[:1], {"manet": "MANet"}))
        limits.append(error_limit([read_blocks(root, wanted, ONE_D[0])[0]]))
    assert limits == sorted(set(limits))


# ---- content --------------------------------------------------------------------------------------


def test_every_reconstruction_says_its_psnr_and_ssim(results):
    shown = [text.get_text() for text in texts(drawn(CASES["8"], results))]
    for mask in FOUR:
        for method in ABLATION:
            with np.load(results / "runs/ixi" / mask / method / "seed0/examples.npz") as arrays:
                assert f"{arrays['psnr'][0]:.2f} / {arrays['ssim'][0]:.3f}" in shown
    for label in (*ABLATION.values(), "1D-Uniform-6×", "2D-Spiral-6×", "Ground truth", "Mask", "T1", "T2"):
        assert label in shown


def test_the_first_figure_shows_auxiliary_target_and_undersampled_target(results):
    figure = drawn(CASES["1"], results)
    target, auxiliary = phantom()
    shown = [image.get_array() for image in images(figure, "gray")]
    np.testing.assert_array_equal(shown[0], auxiliary)
    np.testing.assert_array_equal(shown[1], target)
    with np.load(results / "runs/ixi" / ONE_D[1] / "zf/seed0/examples.npz") as arrays:
        np.testing.assert_array_equal(shown[2], arrays["zero_filled"][0])
        assert f"{arrays['zero_filled_psnr'][0]:.2f}" in words(figure)


@pytest.mark.parametrize("case", ["1", "6 with one method", "7", "9"])
def test_embedded_data_is_labelled_and_published_data_is_not(case, results):
    name = "fastMRI" if case[0] in "79" else "IXI"
    assert f"embedded data, not {name}" in words(drawn(CASES[case], results))
    published = CASES[case].replace('"embedded"', '"published"')
    assert "embedded" not in words(drawn(published, results))


def test_of_several_trainings_is_told_which_is_shown(results, tmp_path):
    both = metric_rows("fastmri", ["equispaced_4x"], ["manet"], seeds=(0, 1))
    both.to_parquet(tmp_path / "metrics.parquet")
    (tmp_path / "runs").symlink_to(results / "runs")
    cases = {"6 with one method": "of the slice; seed 0", "9 of one point": "convention); 2 seeds", "1": ""}
    for case, said in cases.items():
        told = words(drawn(CASES[case].replace('"seeds": [0]', '"seeds": [0, 1]'), tmp_path))
        assert said in told
        assert ("seed" in told) == bool(said)
    assert "seed" not in words(drawn(CASES["6 with one method"], results))


def test_fastmri_masks_are_shown_as_lines(results):
    figure = drawn(CASES["7"], results)
    (mask,) = [image.get_array() for image in images(figure, "gray") if image.get_array().dtype == bool]
    with np.load(results / "runs/fastmri/equispaced_4x/zf/seed0/examples.npz") as arrays:
        lines = arrays["mask"][0]
    assert lines.shape == (1, mask.shape[1])
    assert (mask == lines).all()
    assert "PDFS" in words(figure)


def test_diverged_and_missing_runs_leave_a_labelled_hole(tmp_path):
    for method in ("zf", "unet", "manet"):
        path = write_examples(tmp_path, "ixi", ONE_D[0], method)
    with np.load(path) as arrays:
        content = dict(arrays)
    content["reconstruction"] *= np.nan
    content["psnr"] *= np.nan
    np.savez(path, **content)
    figure = drawn(definition(5, "ixi", ONE_D[:1], FIVE), tmp_path)
    shown = [text.get_text() for text in texts(figure)]
    assert shown.count("diverged") == 1
    assert shown.count("no run") == 2
    assert "nan" not in words(figure)
    assert len(images(figure, style.ERROR_COLOURS)) == 2


def test_methods_on_different_slices_are_refused(tmp_path):
    write_examples(tmp_path, "ixi", ONE_D[0], "zf")
    write_examples(tmp_path, "ixi", ONE_D[0], "manet", subject="IXI902")
    wanted = read_definition(definition(5, "ixi", ONE_D[:1], FIVE))
    with pytest.raises(BadInput, match=r"manet: examples\.npz shows another slice than zf's"):
        figures.draw(wanted, tmp_path)


def test_unusable_inputs_are_named(tmp_path):
    wanted = read_definition(definition(5, "ixi", ONE_D[:1], FIVE))
    with pytest.raises(BadInput, match=r"no run has examples\.npz"):
        figures.draw(wanted, tmp_path)
    path = write_examples(tmp_path, "ixi", ONE_D[0], "zf")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match=r"zf/seed0/examples\.npz: not a complete examples file"):
        figures.draw(wanted, tmp_path)
    np.savez(path, subject=np.array([], dtype=np.str_))
    with pytest.raises(BadInput, match="not a complete examples file"):
        figures.draw(wanted, tmp_path)
    with pytest.raises(BadInput, match="kind '' is unknown; give modalities, comparison, heat_map"):
        figures.draw(read_definition(definition(3, "ixi", ONE_D, FIVE)), tmp_path)


# ---- figure 9 -------------------------------------------------------------------------------------


def frames(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]


def scores(axes):
    return axes.collections[0].get_array()


def test_loss_weights_show_the_means_and_frame_the_best(results):
    figure = drawn(CASES["9"], results)
    metrics = metric_rows("fastmri", ["equispaced_4x"], [p["method"] for p in grid_points(WEIGHTS, WEIGHTS)])
    means = metrics.query("level == 'volume'").groupby("method")[["psnr", "ssim"]].mean()
    for axes, metric, digits in zip(figure.axes, ("psnr", "ssim"), (2, 3), strict=True):
        for point in grid_points(WEIGHTS, WEIGHTS):
            row, column = WEIGHTS.index(point["alpha"]), WEIGHTS.index(point["beta"])
            value = means.loc[point["method"], metric]
            assert scores(axes)[row, column] == pytest.approx(value)
            (text,) = [text for text in axes.texts if text.get_position() == (column + 0.5, row + 0.5)]
            assert text.get_text() == f"{value:.{digits}f}"
            best = f"{value:.{digits}f}" == f"{means[metric].max():.{digits}f}"
            assert (text.get_fontweight() == "bold") == best
        solid = [frame for frame in frames(axes) if frame.get_linestyle() in ("-", "solid")]
        assert len(solid) == 1
        row, column = np.unravel_index(scores(axes).argmax(), (4, 4))
        assert solid[0].get_center() == pytest.approx((column + 0.5, row + 0.5))
        (dashed,) = [frame for frame in frames(axes) if frame not in solid]
        assert dashed.get_center() == pytest.approx((2.5, 1.5))  # beta 0.6, alpha 0.4


def test_numbers_on_loss_weights_stand_out_from_their_cell(results):
    for axes in drawn(CASES["9"], results).axes:
        (mesh,) = axes.collections
        mesh.update_scalarmappable()
        cells = mesh.get_facecolors().reshape(len(WEIGHTS), len(WEIGHTS), 4)
        for text in axes.texts:
            x, y = (int(value) for value in text.get_position())
            rgb = np.array([cells[y, x][:3], matplotlib.colors.to_rgb(text.get_color())])
            linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
            dark, light = sorted(linear @ [0.2126, 0.7152, 0.0722])
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def test_loss_weights_show_holes_as_holes(tmp_path):
    methods = [point["method"] for point in grid_points((0.2, 0.4), (0.4, 0.6))]
    metrics = metric_rows("fastmri", ["equispaced_4x"], methods[1:])
    metrics.loc[metrics["method"] == methods[1], ["ssim", "psnr", "nmse"]] = np.nan
    metrics.to_parquet(tmp_path / "metrics.parquet")
    figure = drawn(CASES["9 small"], tmp_path)
    for axes in figure.axes:
        shown = {text.get_position(): text.get_text() for text in axes.texts}
        assert shown[0.5, 0.5] == "—"
        assert shown[1.5, 0.5] == "div."
        assert np.ma.getmaskarray(scores(axes)).tolist() == [[True, True], [False, False]]


def test_loss_weights_below_zero_carry_a_minus_sign_as_in_tables(tmp_path):
    methods = [point["method"] for point in grid_points((0.2, 0.4), (0.4, 0.6))]
    metrics = metric_rows("fastmri", ["equispaced_4x"], methods)
    metrics["ssim"] = -0.125
    metrics.to_parquet(tmp_path / "metrics.parquet")
    _, ssim = drawn(CASES["9 small"], tmp_path).axes
    assert [text.get_text() for text in ssim.texts] == 4 * ["\N{MINUS SIGN}0.125"]


# ---- style ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [style.ERROR_COLOURS, style.SCORE_COLOURS])
def test_colour_scales_rise_in_luminance_and_so_survive_grey_print(name):
    colours = matplotlib.colormaps[name](np.linspace(0, 1, 64))[:, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_lines_can_be_told_apart():
    looks = [style.line_style(index) for index in range(45)]
    assert len({(str(look["color"]), str(look["linestyle"])) for look in looks}) == 45
    # Without colour: pattern and marker.
    assert len({(str(look["linestyle"]), look["marker"]) for look in looks[:12]}) == 12
    # Nine methods have nine colours and nine markers.
    assert all(len({str(look[name]) for look in looks[:9]}) == 9 for name in ("color", "marker"))


# Of dichromats, on linear RGB: Machado, Oliveira, Fernandes 2009, severity 1.
SIGHT = {
    "normal": np.eye(3),
    "without red": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    "without green": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    "without blue": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colours, sight):
    """CIELAB of hexadecimal colours as they are seen with ``sight`` (D65)."""
    rgb = np.array([matplotlib.colors.to_rgb(colour) for colour in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array(sight).T
    xyz = (
        linear.clip(0, 1)
        @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    )
    t = xyz / [0.9505, 1, 1.089]
    x, y, z = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116).T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


@pytest.mark.parametrize("sight", SIGHT)
def test_nine_methods_have_colours_that_every_reader_tells_apart(sight):
    seen = lab(style.LINE_COLOURS, SIGHT[sight])
    assert len(seen) == 9
    distances = [np.linalg.norm(one - other) for one, other in combinations(seen, 2)]
    assert min(distances) > 14  # a just noticeable difference is about 2.3


def test_nine_methods_have_nine_lightnesses_and_stand_out_from_paper():
    lightness = np.sort(lab(style.LINE_COLOURS, SIGHT["normal"])[:, 0])
    assert np.diff(lightness).min() > 5.5
    assert lightness[-1] < 80


@pytest.mark.parametrize("width", [0.4, 0.7, 1.4])
@pytest.mark.parametrize("text", [*FIVE.values(), *EXTRA.values(), "w/o T1-GA"])
def test_fitted_labels_fit(text, width):
    lines, size = fitted(text, width)
    assert 1 <= len(lines) <= 2
    assert all(text_width(line, size) <= width for line in lines)
    if lines[-1][-1] != "…":
        assert " ".join(lines) == text
