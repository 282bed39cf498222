"""The page of scored recordings, opened from disk in a browser with the network off."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from mimii_lib.cli import main
from mimii_lib.data.miniature import clip_parts
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.results import Score
from mimii_lib.pages.scored_recordings import page

RATE = 16_000
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ODD = '<b>odd & "pump.wav'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ten normal recordings of a second in one folder, three others in another, and the model."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("normal", "new"):
        (folder / name).mkdir()
    clip = np.add(*clip_parts("fan", "id_00", "normal", 0, snr=6))
    other = np.add(*clip_parts("pump", "id_00", "normal", 0, snr=6))
    for number, sound in enumerate(np.split(clip, 10)):
        soundfile.write(folder / "normal" / f"{number}.wav", sound, RATE)
    soundfile.write(folder / "new" / ODD, other[:RATE], RATE)
    soundfile.write(folder / "new" / "long.flac", np.concatenate([np.tile(clip, 4), other[: 2 * RATE]]), RATE)
    soundfile.write(folder / "new" / "fan.wav", clip[RATE // 2 : 3 * RATE // 2], RATE)
    Monitor.fit([folder / "normal"], system="mahalanobis").save(folder / "fan.mimii")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if BROWSER is None:
        pytest.skip("needs Chromium or Chrome")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    """Return the page that the command writes."""
    where = folder / "page.html"
    code = main(
        [
            "score",
            f"{folder / 'fan.mimii'}",
            f"{folder / 'new'}",
            "--html",
            f"{where}",
            "--normal",
            f"{folder / 'normal'}",
        ]
    )
    assert code == 1
    return where


@pytest.fixture
def opened(browser: Browser, file: Path) -> Iterator[Page]:
    page = browser.new_page(offline=True, viewport={"width": 390, "height": 800})
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    yield page
    assert problems == []
    page.close()


def scored(folder: Path) -> tuple[Monitor, list[Score]]:
    """Return the model and what it says of the new recordings."""
    monitor = Monitor.load(folder / "fan.mimii")
    return monitor, [monitor.score(path) for path in sorted((folder / "new").iterdir())]


def names(page: Page) -> list[str]:
    """Return the names of the recordings that are shown."""
    return [one.inner_text() for one in page.locator("article h2").all() if one.is_visible()]


def test_all_sounds_play_and_all_pictures_show(opened, folder):
    """Each recording has its sound, of a long one the half minute around its worst window, and the nearest one."""
    opened.wait_for_function("[...document.querySelectorAll('audio')].every(sound => sound.duration > 0)")
    assert opened.evaluate("[...document.images].every(image => image.naturalWidth > 20 && image.alt)")
    lengths = opened.evaluate(
        "[...document.querySelectorAll('article')].map(one => [one.dataset.name,"
        "[...one.querySelectorAll('audio')].map(sound => Math.round(sound.duration))])"
    )
    assert dict(lengths) == {ODD: [1, 1], "long.flac": [30, 1], "fan.wav": [1, 1]}
    assert "30 s from 12 s on" in opened.locator("figcaption", has_text="30 s").inner_text()


def test_the_lowest_p_value_comes_first_and_names_are_text(opened, folder):
    """Names are shown as they are, whatever signs they have; the order is that of the p-values."""
    scores = {Path(one.path).name: one for one in scored(folder)[1]}
    assert names(opened)[0] == ODD and {*names(opened)} == {*scores}
    shown = [scores[name].p_value for name in names(opened)]
    assert shown == sorted(shown)
    assert opened.locator("article b").count() == 0


def test_the_list_can_be_filtered(opened):
    """By a part of the name and by the verdict; how many are left is told."""
    opened.get_by_label("Name contains").fill("FAN")
    assert names(opened) == ["fan.wav"]
    assert opened.get_by_role("status").inner_text() == "1 of 3 shown"
    opened.get_by_label("Name contains").fill("")
    opened.get_by_label("only anomalous").check()
    assert ODD in names(opened) and "fan.wav" not in names(opened)


def test_a_timeline_shows_where_a_long_recording_is_unusual(opened):
    """It has a box for each window; the last two are of another machine."""
    boxes = opened.locator("article", has_text="long.flac").locator("ol.windows li")
    assert boxes.count() == 42
    marks = [box.get_attribute("class") or "" for box in boxes.all()]
    assert all("anomalous" in mark and "played" in mark for mark in marks[-2:])
    assert sum("played" in mark for mark in marks) == 30


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_on_a_phone(browser, file, scheme):
    """axe finds nothing, and nothing is wider than the screen."""
    page = browser.new_page(offline=True, viewport={"width": 390, "height": 800}, color_scheme=scheme)
    page.goto(file.as_uri())
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_without_the_normal_recordings_the_page_says_so(folder):
    """The model file keeps no sound; a recording of the same name that is another one does not stand in."""
    monitor, scores = scored(folder)
    (other := folder / "other").mkdir()
    for number in range(10):
        shutil.copy(folder / "new" / ODD, other / f"{number}.wav")
    for normal in [], sorted(other.iterdir()):
        content = page(scores, monitor, normal)
        assert "there is no normal recording to hear" in content and "nearest normal" not in content
    assert "there is no normal recording" not in page(scores, monitor, sorted((folder / "normal").iterdir()))


def test_the_page_has_a_bounded_size(folder):
    """Where sounds are too many, those of the lowest p-values are played, and the page says so."""
    monitor, scores = scored(folder)
    content = page(scores, monitor, most=1)
    assert content.count("<audio") == 1 and content.count("<article") == 3
    assert "1 of 3 recordings have a player" in content
    assert content.index("<audio") < content.index("long.flac")


def test_a_page_of_nothing_and_of_lost_files(folder):
    """No recording is a page, and so is one that has gone, or whose name is no text."""
    monitor, scores = scored(folder)
    assert "0 of 0 recordings" in page([], monitor)
    gone = replace(scores[0], path=str(folder / "gone\udcff.wav"))
    content = page([gone], monitor)
    assert content.encode() and "gone\\udcff.wav" in content and "<audio" not in content
