"""The figure of a threshold, on a page of its own that is opened from disk in a browser with the network off."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mimii_lib.evaluation import ClipScores, auc
from mimii_lib.pages import threshold

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def clip_scores(n_normal: int, n_abnormal: int, seed: int, scale: float = 1.0) -> ClipScores:
    """Return scores of clips, of which the abnormal ones are higher by one standard deviation."""
    anomalous = np.arange(n_normal + n_abnormal) >= n_normal
    scores = scale * (np.random.default_rng(seed).standard_normal(len(anomalous)) + anomalous - 3)
    return ClipScores("fan id_00", (None, "kde"), np.arange(len(anomalous)).astype(str), anomalous, scores)


CLIPS = {"mean": clip_scores(16, 8, 0), "max": clip_scores(16, 8, 1, scale=1000.0)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("needs Chromium or Chrome")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file, static = tmp_path_factory.mktemp("threshold") / "page.html", ROOT / "book" / "_static"
    parts = (
        f"<style>{(static / 'book.css').read_text()}</style><script>{(static / 'threshold.js').read_text()}</script>"
    )
    body = threshold.drawn("fan id_00 & KDE", CLIPS).data
    file.write_text(f'<!doctype html><html lang="en"><meta charset="utf-8">{parts}<body>{body}')
    return file


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    page = browser.new_page(offline=True, viewport={"width": 390, "height": 800})
    page.goto(page_file.as_uri())
    yield page
    page.close()


def shown(page: Page) -> dict[str, str]:
    """Return the values of the sentence below the figure."""
    return page.evaluate("Object.fromEntries([...document.querySelectorAll('[data-value]')]"
                         ".map(element => [element.dataset.value, element.textContent]))")  # fmt: skip


@pytest.mark.parametrize("pooling", CLIPS)
def test_the_start_needs_no_abnormal_clip(pooling):
    """At most a tenth of the normal clips raise an alarm, a position lower more; abnormal scores change nothing."""
    facts = threshold.positions(CLIPS[pooling])
    alarms = [threshold.errors(facts, position)[0] for position in range(threshold.STEPS + 1)]
    assert alarms[0] == 16 and alarms[-1] == 0 and alarms == sorted(alarms, reverse=True)
    assert alarms[facts["start"]] <= 1.6 < alarms[facts["start"] - 1]
    assert threshold.errors(facts, 0)[1] == 0 and threshold.errors(facts, threshold.STEPS)[1] == 8
    assert facts["auc"] == f"{100 * auc(CLIPS[pooling].anomalous, CLIPS[pooling].scores):.1f}"


def test_the_keyboard_moves_the_threshold(page):
    """Every step shows the counts of Python: errors in the sentence, the place of the line, the point on the curve."""
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    facts = threshold.positions(CLIPS["mean"])
    counts = set()
    for step in range(12):
        position = facts["start"] - 5 * step
        slider.evaluate("(slider, position) => { slider.value = position + 1; }", position)
        page.keyboard.press("ArrowLeft")
        alarms, misses = threshold.errors(facts, position)
        values = shown(page)
        assert (values["alarms"], values["misses"]) == (str(alarms), str(misses))
        assert values["threshold"] == f"{facts['low'] + position * facts['step']:.2f}".replace("-", "−")
        assert slider.get_attribute("aria-valuetext") == values["threshold"]
        point = page.locator("[data-moves=point]")
        assert float(point.get_attribute("cx")) == pytest.approx(threshold.SIDE * alarms / 16)
        assert float(point.get_attribute("cy")) == pytest.approx(threshold.SIDE * misses / 8)
        counts.add((alarms, misses))
    assert len(counts) > 5
    assert re.search(r"Threshold −?[\d.]+ on the mean of the patch scores", page.get_by_role("status").inner_text())


def test_a_drag_moves_the_line_under_the_pointer(page):
    """The line is where the slider's thumb is dragged to, on a phone too."""
    box = page.get_by_role("slider").bounding_box()
    start = threshold.positions(CLIPS["mean"])["start"] / threshold.STEPS
    middle, thumb = box["y"] + box["height"] / 2, box["x"] + 8 + start * (box["width"] - 16)
    page.mouse.move(thumb, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, middle, steps=4)
    page.mouse.up()
    line = page.locator("[data-moves=threshold] path").bounding_box()
    assert line["x"] + line["width"] / 2 == pytest.approx(box["x"] + box["width"] * 0.3, abs=4)
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_another_pooling_starts_at_its_own_threshold(page):
    """The button shows the marks and the curve of the other pooling, at its own start; the first one comes back."""
    facts = threshold.positions(CLIPS["max"])
    page.get_by_label("max").check()
    alarms, misses = threshold.errors(facts, facts["start"])
    assert shown(page) | {"threshold": ""} == {
        "pooling": "max", "threshold": "", "alarms": str(alarms), "misses": str(misses), "auc": facts["auc"]
    }  # fmt: skip
    groups = page.locator("g[data-pooling=max]")
    assert [group.is_visible() for group in groups.all()] == [True, True]
    assert not page.locator("g[data-pooling=mean]").first.is_visible()
    page.get_by_label("mean").check()
    assert page.locator("g[data-pooling=mean]").first.is_visible()


def test_without_a_script_the_figure_stands_still(browser, page_file):
    """The threshold of the start and its counts are shown, and no control that would do nothing."""
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(page_file.as_uri())
    facts = threshold.positions(CLIPS["mean"])
    alarms, misses = threshold.errors(facts, facts["start"])
    assert f"{alarms} of 16 normal clips are false alarms, and {misses} of 8" in page.get_by_role("status").inner_text()
    assert page.locator("svg").count() == 2 and page.locator("svg").first.is_visible()
    assert [control.is_visible() for control in page.locator(".controls").all()] == [False, False]
    context.close()


def test_the_data_of_the_figure_are_json(page):
    """Scores that are all the same are a figure too, and the embedded data can be read by other programs."""
    same = CLIPS["mean"].__class__(**vars(CLIPS["mean"]) | {"scores": np.ones(24)})
    text = re.search(r'<script type="application/json">(.*?)</script>', threshold.drawn("same", {"mean": same}).data)[1]
    facts = json.loads(text)["poolings"]["mean"]
    assert threshold.errors(facts, 0) == (16, 0) and threshold.errors(facts, threshold.STEPS) == (0, 8)
