"""The report in headless Chromium, at the width of a desk and of a phone, by mouse and by keyboard.

What a control does is read back from the pixels of the canvases and the rows of the tables; what the scripts compute
is held against numpy on the images the report was made of.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fluorsr.evaluate.results import Comparison
from fluorsr.report.html import write_report
from fluorsr.report.html_page import Field, Page, Shown, write_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser; pip install playwright")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine; apt-get install chromium")

EVIL = """a 1</script><script>pwned=1</script><img src=x onerror="pwned=1">"""
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 375, "height": 740}
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as play:
        # Chromium refuses its sandbox to root, which CI often is; the page is our own.
        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        browser = play.chromium.launch(executable_path=BROWSER, args=sandbox)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(compare_in: Callable[..., Comparison], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return write_report(compare_in(folder, (EVIL, "b 1")), folder / "report.html")


@pytest.fixture
def opened(chromium: Any, report: Path) -> Iterator[Open]:
    """Opens the report at a size; at the end nothing may have gone wrong, been loaded, or run."""
    pages = []
    complaints: list[str] = []

    def open_page(viewport: dict[str, int] = DESK) -> Any:
        page = chromium.new_page(viewport=viewport)
        pages.append(page)
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        address = report.as_uri()
        page.on("request", lambda one: None if one.url == address else complaints.append(f"request: {one.url[:200]}"))
        page.goto(address)
        page.wait_for_selector("body[data-ready=yes]")
        settle(page)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("typeof pwned") == "undefined"
        page.close()
    # An image in the page is a request, too, but a data: address goes nowhere; it is the tests that read canvases back.
    harmless = ("request: data:", "console: Canvas2D: Multiple readback operations")
    assert [one for one in complaints if not one.startswith(harmless)] == []


def settle(page: Any) -> None:
    """Wait until what was asked for is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page: Any, selector: str) -> NDArray[np.int64]:
    """The red of every pixel of a canvas as it stands on the screen [Y, X]."""
    settle(page)
    shot = page.locator(selector).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))[..., 0].astype(np.int64)


def into_view(page: Any, selector: str) -> dict[str, float]:
    """Scroll to something; where it then lies."""
    page.locator(selector).scroll_into_view_if_needed()
    box: dict[str, float] = page.locator(selector).bounding_box()
    return box


def methods(page: Any) -> list[str]:
    """The first column of the ranking, from top to bottom, without the remarks below."""
    cells = page.query_selector_all("#figures table >> nth=0 >> tbody tr td:first-child")
    return [cell.inner_text().split("\n")[0].strip() for cell in cells]


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_opens_whole_and_never_wider_than_the_screen(opened: Open, viewport: dict[str, int]) -> None:
    page = opened(viewport)
    for width in (viewport["width"], 320):
        page.set_viewport_size({**viewport, "width": width})
        settle(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#crops canvas").count() == 5
    assert page.locator(".field-charts:visible img").count() == 3
    for number in range(page.locator("img:visible").count()):
        assert page.locator("img:visible").nth(number).evaluate("(image) => image.complete && image.naturalWidth > 100")


def test_what_a_finger_must_hit_is_large_enough(opened: Open) -> None:
    page = opened(PHONE)
    for number in range(page.locator("button:visible, select:visible").count()):
        box = page.locator("button:visible, select:visible").nth(number).bounding_box()
        assert min(box["width"], box["height"]) >= 36, box


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_headings_sort_by_click(opened: Open, viewport: dict[str, int]) -> None:
    page = opened(viewport)
    assert methods(page) == ["sharp", "soft", "lost"]
    lpips, light = (page.locator("#figures table").first.locator("th button").nth(n) for n in (1, 3))
    heading = page.locator("#figures table").first.locator("th").nth(1)
    lpips.click()
    assert methods(page) == ["sharp", "soft", "lost"]
    assert heading.get_attribute("aria-sort") == "ascending"
    lpips.click()
    assert methods(page) == ["soft", "sharp", "lost"]  # what has no figure stays last
    assert heading.get_attribute("aria-sort") == "descending"
    light.click()
    assert methods(page) == ["lost", "sharp", "soft"]
    assert heading.get_attribute("aria-sort") is None


def test_headings_sort_by_key_numbers_as_numbers_and_words_as_words(opened: Open) -> None:
    page = opened()
    button = page.locator("#figures table").first.locator("th button").nth(2)
    button.focus()
    page.keyboard.press("Enter")
    assert methods(page) == ["sharp", "soft", "lost"]  # 34, 28.5, 9.75: higher is better, so it comes first
    page.keyboard.press("Space")
    assert methods(page) == ["lost", "soft", "sharp"]
    page.locator("#figures table").first.locator("th button").nth(0).click()
    assert methods(page) == ["lost", "sharp", "soft"]


def compared(page: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stage as the left image alone, and as the right image alone, without their labels and handles' rows."""
    alone = []
    for name in ("left", "right"):
        page.evaluate(
            "(name) => { state.kept = [state.left, state.right]; state.left = state.right = state[name]; redraw(); }",
            name,
        )
        alone.append(picture(page, "#stage"))
        page.evaluate("[state.left, state.right] = state.kept; redraw()")
    return alone[0], alone[1]


def assert_divided(page: Any, share: float) -> None:
    """The stage shows the left image left of `share` of its width, and the right one right of it."""
    left, right = compared(page)
    shown = picture(page, "#stage")
    height, width = shown.shape
    rows = slice(int(0.2 * height), int(0.4 * height))  # clear of labels, handle and scale bar
    at = round(share * width)
    np.testing.assert_array_equal(shown[rows, : at - 5], left[rows, : at - 5])
    np.testing.assert_array_equal(shown[rows, at + 5 :], right[rows, at + 5 :])
    assert np.abs(left - right)[rows].max() > 20


def test_the_slider_follows_the_mouse(opened: Open) -> None:
    page = opened()
    page.select_option("#right", label="soft")
    assert_divided(page, 0.5)
    box = into_view(page, "#stage")
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, middle, steps=4)
    page.mouse.up()
    assert page.input_value("#split") == "25"
    # the mouse leaves a whole pixel; the share is what the page says
    assert_divided(page, page.evaluate("state.split"))


def test_the_slider_follows_the_keys(opened: Open) -> None:
    page = opened()
    page.select_option("#right", label="soft")
    page.focus("#split")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert_divided(page, 0.7)
    assert "slider at 70 %" in page.get_attribute("#stage", "aria-label")
    page.keyboard.press("Home")
    assert page.evaluate("state.split") == 0


def test_zoom_and_pan_move_the_stage_and_every_crop_together(opened: Open) -> None:
    page = opened()
    before = [picture(page, f"#crops figure:nth-child({n}) canvas") for n in range(1, 6)]
    page.focus("#stage")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    view = page.evaluate("state.view")
    width = 96 * 0.03
    assert view["span"] == pytest.approx(0.7 * width)
    assert view["x"] == pytest.approx(width / 2 + 0.7 * width / 12)
    after = [picture(page, f"#crops figure:nth-child({n}) canvas") for n in range(1, 6)]
    assert all((one != other).any() for one, other in zip(before, after, strict=True))
    page.keyboard.press("0")
    again = [picture(page, f"#crops figure:nth-child({n}) canvas") for n in range(1, 6)]
    for one, other in zip(before, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_drag_moves_the_image_under_the_pointer(opened: Open) -> None:
    page = opened()
    page.click("#zoom-in")
    box = into_view(page, "#stage")
    before = page.evaluate("state.view")
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 30, steps=5)
    page.mouse.up()
    after, a_pixel = page.evaluate("state.view"), before["span"] / box["width"]
    assert after["x"] - before["x"] == pytest.approx(-50 * a_pixel)
    assert after["y"] - before["y"] == pytest.approx(30 * a_pixel)


def test_the_wheel_scrolls_the_page_and_zooms_with_ctrl(opened: Open) -> None:
    page = opened()
    page.locator("#stage").hover()
    span = page.evaluate("state.view.span")
    page.mouse.wheel(0, -100)
    settle(page)
    assert page.evaluate("state.view.span") == span
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    page.wait_for_timeout(100)
    assert page.evaluate("state.view.span") < 0.8 * span


def test_contrast_maps_the_window_to_black_and_white(opened: Open, images: dict[str, NDArray[np.float32]]) -> None:
    page = opened()
    page.evaluate("contrast(200, 600)")
    low, high = page.evaluate("[state.low, state.high]")
    shown = page.evaluate("[...picture(state.field.images[4]).getContext('2d').getImageData(0, 0, 96, 96).data]")
    red = np.array(shown).reshape(96, 96, 4)[..., 0]
    expected = np.clip(np.floor((images["target"] - low) * 256 / (high - low)), 0, 255)
    assert np.abs(red - expected).max() <= 1
    stage = picture(page, "#stage")
    page.focus("#high")
    page.keyboard.press("End")
    assert picture(page, "#stage").mean() < stage.mean() - 5  # a higher white makes all darker
    page.click("#auto")
    assert page.evaluate("[state.low, state.high]") == pytest.approx(page.evaluate("state.field.window"))


def test_the_pixels_in_the_page_are_those_of_the_files(opened: Open, images: dict[str, NDArray[np.float32]]) -> None:
    page = opened()
    for number, name in enumerate(("input", "sharp", "soft", "lost", "target")):
        found = page.evaluate(f"[...state.field.images[{number}].values]")
        expected = images[name].ravel()
        np.testing.assert_allclose(found, expected, atol=max(np.ptp(expected) / 130_000, 1e-4))


def bilinear(image: NDArray[np.float32], pixel: float, x: float, y: float) -> float:
    """Between the four nearest pixel centres, away from the edges."""
    u, v = x / pixel - 0.5, y / pixel - 0.5
    i, j = int(np.floor(u)), int(np.floor(v))
    a, b = u - i, v - j
    top = (1 - a) * image[j, i] + a * image[j, i + 1]
    return float((1 - b) * top + b * ((1 - a) * image[j + 1, i] + a * image[j + 1, i + 1]))


def test_a_line_dragged_over_a_crop_gives_its_profile(opened: Open, images: dict[str, NDArray[np.float32]]) -> None:
    page = opened()
    crop = page.locator("#crops canvas").nth(2)
    crop.scroll_into_view_if_needed()
    box = crop.bounding_box()
    before = page.get_attribute("#profile path.curve >> nth=1", "d")
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    side = 96 * 0.03
    line = page.evaluate("state.line")
    assert line == pytest.approx([0.2 * side, 0.3 * side, 0.8 * side, 0.7 * side], abs=0.01 * side)
    found = page.evaluate("profiles(state.field.images, state.line)")
    length = np.hypot(line[2] - line[0], line[3] - line[1])
    assert found["at"][-1] == pytest.approx(length)
    for number, (name, pixel) in enumerate((("input", 0.06), ("sharp", 0.03), ("soft", 0.03))):
        shares = np.array(found["at"]) / length
        expected = [
            bilinear(images[name], pixel, line[0] + t * (line[2] - line[0]), line[1] + t * (line[3] - line[1]))
            for t in shares
        ]
        np.testing.assert_allclose(found["values"][number], expected, atol=0.02)
    assert page.locator("#profile path.curve").count() == 5
    assert page.get_attribute("#profile path.curve >> nth=1", "d") != before
    assert page.locator("#profile .key li").all_inner_texts() == ["input", "sharp", "soft", "lost", "truth"]
    assert "sharp" in page.get_attribute("#profile svg >> nth=0", "aria-label")


def test_the_line_follows_the_keys(opened: Open) -> None:
    page = opened()
    page.locator("#crops canvas").first.focus()
    before, step = page.evaluate("state.line"), page.evaluate("state.view.span / 60")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("state.line") == pytest.approx([before[0], before[1] + step, before[2], before[3] + step])
    page.keyboard.press("Shift+ArrowDown")
    assert page.evaluate("state.line") == pytest.approx([before[0], before[1] + step, before[2], before[3] + 2 * step])


def test_error_maps_are_restored_minus_truth_after_the_fit(
    opened: Open, images: dict[str, NDArray[np.float32]]
) -> None:
    page = opened()
    page.check("input[value=errors]")
    settle(page)
    assert page.locator("#error-legend").is_visible()
    gain, offset = np.polyfit(images["soft"].ravel().astype(float), images["target"].ravel().astype(float), 1)
    expected = gain * images["soft"] + offset - images["target"]
    found = page.evaluate("[...errors(state.field.images[2], state.field.images[4])]")
    np.testing.assert_allclose(found, expected.ravel(), atol=0.1)
    assert page.evaluate("errors(state.field.images[0], state.field.images[4])") is None
    # too much light is orange (more red than blue), too little is blue
    y, x = np.unravel_index(np.argmax(expected), expected.shape)
    map_script = f"[...state.field.images[2].bitmaps.errors.canvas.getContext('2d').getImageData({x}, {y}, 1, 1).data]"
    red, _, blue, _ = page.evaluate(map_script)
    assert red > blue
    y, x = np.unravel_index(np.argmin(expected), expected.shape)
    map_script = f"[...state.field.images[2].bitmaps.errors.canvas.getContext('2d').getImageData({x}, {y}, 1, 1).data]"
    red, _, blue, _ = page.evaluate(map_script)
    assert blue > red


def test_scale_bars_are_as_long_as_they_say(opened: Open) -> None:
    page = opened()
    # 2.88 um wide: at most a quarter, 0.72 um, so 500 nm
    assert page.evaluate("[niceLength(2.88), lengthLabel(niceLength(2.88), 'µm')]") == [pytest.approx(0.5), "500 nm"]
    page.evaluate("state.low = 1e6; state.high = 2e6; state.split = 0.9; redraw()")  # images black, the bar alone
    shown = picture(page, "#stage")
    height, width = shown.shape
    bottom = shown[int(0.9 * height) :, : width // 2]
    bar = max(int((row == 255).sum()) for row in bottom)
    assert bar == pytest.approx(width * 0.5 / 2.88, abs=2)


def test_another_field_brings_its_images_and_curves(opened: Open) -> None:
    page = opened()
    page.select_option("#field", "1")
    page.wait_for_selector(".field-charts[data-field='1']:visible")
    assert page.evaluate("state.field.name") == "b 1"
    assert page.locator(".field-charts:visible").count() == 1


def test_every_control_is_reached_and_shows_its_focus(opened: Open) -> None:
    page = opened()
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        tag, key, outlined = page.evaluate(
            "(() => { const e = document.activeElement; return [e.tagName, e.id || e.tagName, "
            "getComputedStyle(e).outlineStyle !== 'none']; })()"
        )
        if tag != "BODY":
            assert outlined, key
            reached.add(key)
    assert {"field", "left", "right", "palette", "own", "stage", "split", "low", "high", "zoom-in", "fit"} <= reached
    assert {"A", "BUTTON", "CANVAS", "SUMMARY", "INPUT"} <= reached


def test_it_prints_without_controls_and_with_its_images(opened: Open) -> None:
    page = opened()
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator(".controls").is_hidden()
    assert page.locator("#stage").is_visible()
    assert page.locator("th button").first.is_visible()
    assert len(page.pdf(format="A4")) > 50_000


def test_images_without_a_truth_offer_no_errors(chromium: Any, tmp_path: Path) -> None:
    shown = [Shown(name, np.eye(20) * scale, 0.1, "#000000") for name, scale in (("input", 1), ("restored", 2))]
    field = Field("one", shown, "px", 0, 1, None, (0, 1), (0, 0, 1, 1))
    path = tmp_path / "page.html"
    write_page(Page("kind", "title", [], fields=[field]), path)
    page = chromium.new_page(viewport=PHONE)
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    assert page.locator("#errors-choice").is_hidden()
    assert page.locator("#crops canvas").count() == 2
    page.close()


def test_a_report_without_images_opens_too(
    chromium: Any, comparison: Callable[..., Comparison], tmp_path: Path
) -> None:
    path = write_report(replace(comparison(("a 1",)), pictures=()), tmp_path / "plain.html")
    page = chromium.new_page(viewport=PHONE)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_selector("body[data-ready=yes]")
    page.locator("#figures th button").nth(1).click()
    assert methods(page) == ["sharp", "soft", "lost"]
    assert faults == []
    page.close()
