"""The page of an experiment in a real browser: headless Chromium, wide and on a phone.

The browser is the machine's own, found on PATH: none comes with the Python packages. Without one these tests
are skipped, and pytest's summary says so.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from index_page import write_results
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from workflow.page.__main__ import write_index
from workflow.page.viewer import CLIPPED

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="neither chromium nor google-chrome on PATH (Debian: apt install chromium)"
)
WIDE, TABLET, PHONE, NARROW = (1280, 800), (768, 1024), (390, 844), (320, 640)
SIZES = (WIDE, TABLET, PHONE)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    write_index(write_results(root), root, root / "index.html")
    return root


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Chromium's sandbox refuses root, which tests in containers are; the page is our own.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@dataclass
class Opened:
    """The page, opened, and what it complained of or asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """Name of the image in the viewer."""
        return str(self.page.get_attribute("#panels", "data-shown"))

    def expect(self, name: str) -> None:
        self.page.wait_for_selector(f'#panels[data-shown="{name}"]')

    def unfold(self) -> None:
        """Open all that is folded."""
        self.page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")

    def column(self, table: str, number: int) -> list[str]:
        return self.page.locator(f"#{table} tbody tr > :nth-child({number})").all_inner_texts()

    def data(self, name: str) -> np.ndarray:
        """The image that a plot shows, as Bokeh has it: enlarged."""
        script = """name => {
          const source = Bokeh.documents.at(-1).get_model_by_name(`${name}_source`);
          const image = source.data.image[0];
          return [image.shape, Array.from(image)];
        }"""
        shape, values = self.page.evaluate(script, name)
        return np.array(values).reshape(shape)

    def pixels(self, name: str, height: int = 64) -> np.ndarray:
        """The pixels of an image in their places of the enlarged one."""
        shown = self.data(name)
        factor = len(shown) // height
        return np.array(shown[factor // 2 :: factor, factor // 2 :: factor])

    def model(self, name: str, attribute: str) -> float:
        script = "([name, attribute]) => Bokeh.documents.at(-1).get_model_by_name(name)[attribute]"
        return float(self.page.evaluate(script, [name, attribute]))


def opened(browser: Browser, root: Path, size: tuple[int, int], **options: object) -> Opened:
    # Where nothing glides, places can be read off at once.
    settings = {"reduced_motion": "reduce"} | options
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **settings)
    result = Opened(context.new_page())
    page, complaints = result.page, result.complaints
    page.on("console", lambda one: complaints.append(one.text) if one.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda one: None if one.url.startswith(("file:", "data:", "blob:")) else complaints.append(one.url),
    )
    page.goto((root / "index.html").as_uri())
    page.set_default_timeout(15_000)
    page.wait_for_selector("#panels[data-shown], #status:not(.hidden)", state="attached")
    assert complaints == []
    return result


@pytest.fixture
def wide(browser: Browser, root: Path) -> Iterator[Opened]:
    result = opened(browser, root, WIDE)
    yield result
    result.page.context.close()
    assert result.complaints == []


@pytest.fixture
def phone(browser: Browser, root: Path) -> Iterator[Opened]:
    result = opened(browser, root, PHONE, has_touch=True, is_mobile=True)
    yield result
    result.page.context.close()
    assert result.complaints == []


# ---- tables ---------------------------------------------------------------------------------------


def means(texts: list[str]) -> list[float]:
    return [float(text.partition(" ")[0].replace("−", "-")) for text in texts]


def wait_until_sorted(header: Locator, order: str) -> None:
    """DataTables sorts after the event that asks for it, and marks the header when it has."""
    expect(header).to_have_attribute("aria-sort", order)


def test_a_table_sorts_by_click_and_by_key_best_first(wide: Opened) -> None:
    wide.unfold()
    before = wide.column("table_1", 6)
    header = wide.page.locator("#table_1 thead th").nth(5)
    assert header.inner_text().startswith("PSNR ↑")
    header.click()
    wait_until_sorted(header, "descending")
    assert means(wide.column("table_1", 6)) == sorted(means(before), reverse=True)
    header.get_by_role("button").focus()
    wide.page.keyboard.press("Enter")
    wait_until_sorted(header, "ascending")
    assert means(wide.column("table_1", 6)) == sorted(means(before))
    wide.page.keyboard.press("Enter")
    expect(header).not_to_have_attribute("aria-sort", "ascending")
    assert wide.column("table_1", 6) == before


@pytest.mark.long
def test_nmse_sorts_the_lowest_first_and_masks_as_printed(wide: Opened) -> None:
    wide.unfold()
    header = wide.page.locator("#table_1 thead th", has_text="NMSE")
    header.click()
    wait_until_sorted(header, "ascending")
    found = means(wide.column("table_1", 9))
    assert found == sorted(found)
    header = wide.page.locator("#table_1 thead th", has_text="Mask")
    header.click()
    wait_until_sorted(header, "ascending")
    masks = [text.partition(" ")[0] for text in wide.column("table_1", 2)]
    assert masks == ["1D-Uniform-6×"] * 5 + ["2D-Radial-9×"] * 5


@pytest.mark.long
def test_every_table_can_be_sorted(wide: Opened) -> None:
    wide.unfold()
    tables = wide.page.locator(".scroll table")
    assert tables.count() == 4  # Table I, its tests, claims, values
    for number in range(tables.count()):
        header = tables.nth(number).locator("thead th").first
        header.click()
        wait_until_sorted(header, "ascending")


@pytest.mark.long
def test_a_filter_leaves_the_rows_that_match_and_counts_them(wide: Opened) -> None:
    wide.unfold()
    wide.page.fill('input[data-table="table_1"]', "radial manet")
    assert wide.column("table_1", 1) == ["MANet"]
    assert wide.page.inner_text('output[data-count="table_1"]') == "1 of 10 rows"


# ---- viewer ---------------------------------------------------------------------------------------


def example(root: Path, mask: str, method: str) -> dict[str, np.ndarray]:
    with np.load(root / "runs" / "ixi" / mask / method / "seed0" / "examples.npz") as kept:
        return {name: kept[name][0] for name in kept.files}


def test_the_viewer_shows_image_error_and_scores_of_the_run(wide: Opened, root: Path) -> None:
    wide.page.select_option("#setting", label="2D-Radial-9×")
    wide.page.locator("#choices label", has_text="MANet").click()
    wide.expect("MANet")
    kept = example(root, "2d_radial_9x", "manet")
    largest = kept["target"].max()
    step = (CLIPPED[1] - CLIPPED[0]) / (2**12 - 1)
    assert np.abs(wide.pixels("image") - kept["reconstruction"] / largest).max() < step
    error = np.abs(kept["reconstruction"] - kept["target"]) / largest
    assert np.abs(wide.pixels("error") - error).max() < 2 * step
    caption = wide.page.inner_text("#image-caption")
    assert caption == f"MANet: PSNR {kept['psnr']:.2f} dB, SSIM {kept['ssim']:.3f}"
    assert wide.page.inner_text("#status").startswith("MANet, 2D-Radial-9×, IXI901, slice 12: ")


@pytest.mark.long
def test_arrow_keys_buttons_and_the_space_bar_flip(wide: Opened) -> None:
    names = [text.splitlines()[0] for text in wide.page.locator("#choices label").all_inner_texts()]
    wide.page.locator("#choices label", has_text="Zero-filled").click()
    wide.expect("Zero-filled")
    pictures = {wide.page.locator("#plot-image").screenshot()}
    wide.page.focus("#panels")
    for name in names[names.index("Zero-filled") + 1 :]:
        wide.page.keyboard.press("ArrowRight")
        wide.expect(name)
        assert wide.page.locator("#choices input:checked").get_attribute("value") == name
    # Let Bokeh paint before the picture is taken.
    wide.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    pictures.add(wide.page.locator("#plot-image").screenshot())
    assert len(pictures) == 2
    wide.page.keyboard.press("ArrowRight")
    wide.expect(names[0])
    wide.page.click("#previous")
    wide.expect(names[-1])
    wide.page.click("#next")
    wide.page.click("#next")
    wide.expect(names[1])
    wide.page.focus("#panels")
    wide.page.keyboard.down(" ")
    wide.expect(names[0])
    wide.page.keyboard.up(" ")
    wide.expect(names[1])
    wide.page.locator("#choices input:checked").focus()
    wide.page.keyboard.press("ArrowRight")
    wide.expect(names[2])


@pytest.mark.long
def test_window_and_level_follow_sliders_and_mouse(wide: Opened) -> None:
    def limits() -> tuple[float, float]:
        return wide.model("image_colours", "low"), wide.model("image_colours", "high")

    low, high = limits()
    assert low == 0
    assert 0 < high <= 1
    wide.page.focus("#width")
    for _ in range(20):
        wide.page.keyboard.press("ArrowLeft")
    assert limits() == pytest.approx((0.1 * high, 0.9 * high))
    wide.page.focus("#level")
    for _ in range(10):
        wide.page.keyboard.press("ArrowRight")
    assert limits() == pytest.approx((0.2 * high, 1.0 * high))
    wide.page.locator("#plot-image").scroll_into_view_if_needed()
    box = wide.page.locator("#plot-image").bounding_box()
    assert box is not None
    wide.page.mouse.move(box["x"] + 100, box["y"] + 100)
    wide.page.mouse.down()
    wide.page.mouse.move(box["x"] + 140, box["y"] + 80)
    wide.page.mouse.up()
    # Twenty percent wider, ten percent higher.
    assert limits() == pytest.approx((0.2 * high, 1.2 * high))
    wide.page.mouse.move(box["x"] + 10, box["y"] + 10)
    assert limits() == pytest.approx((0.2 * high, 1.2 * high))
    wide.page.click("#reset")
    assert limits() == (low, high)


@pytest.mark.long
def test_both_plots_zoom_together_and_come_back(wide: Opened) -> None:
    assert (wide.model("x", "start"), wide.model("x", "end")) == (0, 64)
    wide.page.focus("#panels")
    wide.page.keyboard.press("+")
    start, end = wide.model("x", "start"), wide.model("x", "end")
    assert end - start == pytest.approx(64 / 1.25)
    assert (wide.model("y", "end"), wide.model("y", "start")) == pytest.approx((start, end))
    wide.page.keyboard.press("0")
    assert (wide.model("x", "start"), wide.model("x", "end")) == (0, 64)
    wide.page.click("#closer")
    before = wide.model("x", "start")
    wide.page.check("#move")
    wide.page.locator("#plot-error").scroll_into_view_if_needed()
    box = wide.page.locator("#plot-error").bounding_box()
    assert box is not None
    wide.page.mouse.move(box["x"] + 200, box["y"] + 200)
    wide.page.mouse.down()
    wide.page.mouse.move(box["x"] + 150, box["y"] + 200, steps=5)
    wide.page.mouse.up()
    assert wide.model("x", "start") > before
    assert wide.page.input_value("#width") == "100"


@pytest.mark.long
def test_the_error_scale_can_be_changed(wide: Opened) -> None:
    wide.page.select_option("#limit", "0.02")
    assert wide.model("error_colours", "high") == 0.02


# ---- figures --------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_figure_is_enlarged_and_closed_by_key(wide: Opened) -> None:
    figure = wide.page.get_by_role("button", name="Enlarge: Fig. 5")
    figure.focus()
    wide.page.keyboard.press("Enter")
    dialog = wide.page.locator(".pswp")
    dialog.wait_for(state="visible")
    assert dialog.get_attribute("role") == "dialog"
    wide.page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert figure.evaluate("element => element === document.activeElement")


# ---- what a screen holds ---------------------------------------------------------------------------

# The words that do not end where they are seen: beyond the window, or beyond what holds and cuts them.
CUT = """() => {
  const cut = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const owner = texts.currentNode.parentElement;
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const box = range.getBoundingClientRect();
    if (box.width === 0 || owner.closest(".hidden, .skip, .plot, select")) continue;
    let [left, right] = [0, document.documentElement.clientWidth];
    for (let one = owner; one !== document.body; one = one.parentElement) {
      if (getComputedStyle(one).overflowX !== "visible") {
        const of = one.getBoundingClientRect();
        [left, right] = [Math.max(left, of.left), Math.min(right, of.right)];
      }
    }
    if (box.left < left - 1 || box.right > right + 1) cut.push(texts.currentNode.data.trim());
  }
  return cut;
}"""
# What has to be scrolled inside the page, where rows and columns are cut at its edges.
SCROLLERS = """() => [...document.querySelectorAll("body *")].filter((one) => {
  const { overflowX, overflowY } = getComputedStyle(one);
  return one.matches(":not(.hidden, .skip, select)") && !one.closest(".plot") && (
    (overflowX !== "visible" && one.scrollWidth > one.clientWidth + 1) ||
    (overflowY !== "visible" && one.scrollHeight > one.clientHeight + 1));
}).map((one) => one.className || one.id || one.tagName)"""


@pytest.mark.parametrize("size", [*SIZES, NARROW])
def test_no_value_is_cut_and_nothing_scrolls_but_the_page(
    browser: Browser, root: Path, size: tuple[int, int]
) -> None:
    found = opened(browser, root, size)
    found.unfold()
    # The widest that may stand there: methods that gave no score, and a mask from a file.
    widest = """() => {
      const all = (selector) => [...document.querySelectorAll(selector)];
      all(".card tr:nth-child(2) td").forEach((cell) => { cell.textContent = "diverged"; });
      all("td details").forEach((one) => { one.append(" prospective_variable_density_9×"); });
    }"""
    found.page.evaluate(widest)
    # Tables find out how much room they have once they are drawn.
    found.page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
    assert found.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert found.page.evaluate(CUT) == []
    assert found.page.evaluate(SCROLLERS) == []
    # Rows are stacked where they have no room side by side, and each value then says what it is.
    stacked = found.page.locator("#table_1.stacked")
    assert stacked.count() == (1 if size in (PHONE, NARROW) else stacked.count())
    if size == PHONE:
        cell = stacked.locator("tbody td").nth(1)
        assert cell.evaluate("one => getComputedStyle(one, '::before').content") == '"SSIM ↑"'
    found.page.context.close()


@pytest.mark.parametrize("size", SIZES)
def test_the_first_screen_holds_the_answer(browser: Browser, root: Path, size: tuple[int, int]) -> None:
    found = opened(browser, root, size)
    for selector in (".answer", ".card td strong"):
        box = found.page.locator(selector).first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= size[1], selector
    assert "MANet has the highest PSNR" in found.page.inner_text(".answer")
    # The viewer begins with the method that the answer names.
    assert found.shown == "MANet"
    found.page.context.close()


def test_the_scores_can_be_switched_to_another_metric(wide: Opened) -> None:
    def headers() -> set[str]:
        shown = wide.page.locator(".card:visible thead tr + tr th").all_inner_texts()
        return {text.strip() for text in shown}

    assert headers() == {"SSIM ↑", "PSNR ↑"}
    wide.page.get_by_role("radio", name="NMSE").check()
    assert headers() == {"NMSE ↓"}
    wide.page.get_by_role("radio", name="SSIM and PSNR").check()
    assert headers() == {"SSIM ↑", "PSNR ↑"}


def test_who_comes_back_finds_no_control_that_tells_what_is_not_shown(wide: Opened) -> None:
    page = wide.page
    wide.unfold()
    page.get_by_role("radio", name="NMSE").check()
    page.get_by_label("Drag moves the image").check()
    page.locator('input[data-table="table_1"]').fill("MANet")
    page.goto("about:blank")
    page.go_back()
    page.wait_for_selector("#panels[data-shown]", state="attached")
    chosen = page.locator('input[name="view"]:checked').get_attribute("value")
    shown = page.locator(".view:not([hidden])").evaluate_all("all => all.map((one) => one.dataset.view)")
    assert {*shown} == {chosen}
    assert not page.get_by_label("Drag moves the image").is_checked()
    assert page.locator('input[data-table="table_1"]').input_value() == ""


def test_images_are_enlarged_smoothly_and_the_sampling_mask_is_not(wide: Opened) -> None:
    shown = wide.data("image")
    assert min(shown.shape) >= 640
    # Blocks would repeat their pixel: neighbours would be equal but at the edges of blocks.
    inside = shown[100:-100, 100:-100]
    steps, jumps = np.abs(np.diff(inside, axis=1)), np.abs(np.diff(wide.pixels("image"), axis=1))
    assert steps.max() < 0.5 * jumps.max()
    assert np.mean(steps > 0) > 0.5
    wide.page.locator("#choices label", has_text="Sampling mask").click()
    wide.expect("Sampling mask")
    assert wide.data("image").shape == (64, 64)


# ---- phone, accessibility --------------------------------------------------------------------------


@pytest.mark.long
def test_a_swipe_flips_on_a_phone(phone: Opened) -> None:
    phone.page.locator("#plot-image").scroll_into_view_if_needed()
    box = phone.page.locator("#plot-image").bounding_box()
    assert box is not None
    first = phone.shown
    x, y = box["x"] + 250, box["y"] + 100
    touch = phone.page.context.new_cdp_session(phone.page)

    def send(kind: str, points: list[dict[str, float]]) -> None:
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", [{"x": x, "y": y}])
    for moved in (30, 60, 90, 120):
        send("touchMove", [{"x": x - moved, "y": y}])
    send("touchEnd", [])
    phone.page.wait_for_selector(f'#panels:not([data-shown="{first}"])')
    assert (first, phone.shown) == ("MANet", "Sampling mask")


@pytest.mark.long
def test_targets_on_a_phone_are_large_enough_for_a_finger(phone: Opened) -> None:
    for selector in ("#viewer button", "#choices label", "#viewer select", ".filter input"):
        for box in phone.page.locator(selector).all():
            found = box.bounding_box()
            assert found is not None
            assert found["height"] >= 36


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_inaccessible(browser: Browser, root: Path, scheme: str) -> None:
    result = opened(browser, root, WIDE, color_scheme=scheme)
    report = Axe().run(result.page)
    assert report.violations_count == 0, report.generate_report()
    result.page.context.close()


@pytest.mark.long
def test_every_control_shows_its_focus(wide: Opened) -> None:
    wide.page.keyboard.press("Tab")
    assert wide.page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(40):
        wide.page.keyboard.press("Tab")
        script = """() => {
          const focused = document.activeElement;
          const marked = focused.matches("#choices input") ? focused.parentElement : focused;
          const name = focused.id || focused.className || focused.textContent;
          return [name, getComputedStyle(marked).outlineStyle];
        }"""
        name, outline = wide.page.evaluate(script)
        assert outline == "solid", name
        seen.add(name)
    assert {
        "setting",
        "slice",
        "panels",
        "previous",
        "next",
        "hold",
        "reset",
        "move",
        "width",
        "level",
        "limit",
    } <= seen


@pytest.mark.long
@pytest.mark.parametrize(("wish", "behaviour"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_who_wants_less_motion_gets_none(browser: Browser, root: Path, wish: str, behaviour: str) -> None:
    page = opened(browser, root, WIDE, reduced_motion=wish).page
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == behaviour
    page.context.close()
