"""The rendered book, opened from disk in a real browser with the network off."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

try:
    import axe_playwright_python.sync_playwright as axe
except ImportError:
    axe = None

HTML = Path(__file__).parents[2] / "_build" / "html"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PAGES = sorted(path for folder in ("book", "executed") for path in (HTML / folder).rglob("*.html"))
ONE_OF_A_KIND = [path for path in PAGES if path.parent.name not in ("pump", "slider", "valve")]

WIDE = {"width": 1280, "height": 900}

pytestmark = [
    pytest.mark.skipif(not PAGES, reason="needs the rendered book: make book"),
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=BROWSER,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--allow-file-access-from-files"],
        )
        yield launched
        launched.close()


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    """Open a page without a network; what it asks for in vain and complains of is kept."""
    context = browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce", offline=True)
    page = context.new_page()
    page.wrong = []
    page.on("requestfailed", lambda request: page.wrong.append(f"not loaded: {request.url[:120]}"))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    yield page
    context.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with opened(browser) as page:
        yield page


def name(path: Path) -> str:
    return path.relative_to(HTML).with_suffix("").as_posix()


def file_of(url: str) -> Path:
    return Path(unquote(urlparse(url).path))


def settled(page: Page, path: Path) -> None:
    """Open a page and wait until its mathematics is set."""
    page.goto(path.as_uri(), wait_until="load")
    if page.locator(".math").count():
        page.wait_for_function("document.querySelectorAll('.math mjx-container').length > 0", timeout=20_000)


def test_the_first_page_is_where_it_should_be(page):
    """Opening _build/html/index.html shows the book's first page."""
    page.goto((HTML / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    assert "Hearing faults" in page.locator("h1").first.inner_text()
    assert page.wrong == []


def test_nothing_of_this_machine_is_published():
    """No folder, machine name or secret stands in any file of the book."""
    ours = {str(Path.home()) + os.sep, str(HTML.parent.parent)}
    ours |= {name for name in [socket.gethostname()] if len(name) > 5 and name != "localhost"}  # "vm" is in many words
    secret = re.compile("token|secret|password|credential|api_?key", re.IGNORECASE)
    ours |= {value for key, value in os.environ.items() if secret.search(key) and len(value) >= 8}
    for path in sorted(HTML.rglob("*")):
        if path.suffix in (".html", ".js", ".json", ".txt", ".inv", ".css", ".svg"):
            text = path.read_text(errors="replace")
            assert not [each for each in ours if each in text], path.name


@dataclass(frozen=True)
class Seen:
    """What a browser makes of a page, wide and light, then narrow and dark; and what axe-core makes of both."""

    wrong: list[str]
    text: str
    heads: int
    broken: list[str]
    untold: int
    captions: list[str]
    players: list[list[str]]
    sources: list[str]
    kinds: list[str]
    ids: set[str]
    links: list[str]
    width: int
    grave: list[tuple[str, str, str]]


FOUND = """() => {
    const all = chosen => [...document.querySelectorAll(chosen)];
    const told = drawing => drawing.getAttribute('aria-label')
        || (drawing.ariaHidden === 'true' && drawing.closest('a')?.innerText.trim());
    return {
        heads: all('article h1').length,
        broken: all('img').filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 80)),
        untold: all('article img').filter(i => !i.hasAttribute('alt')).length
            + all('article svg.drawing').filter(each => !told(each)).length,
        captions: all('article figure').map(each => each.querySelector('figcaption')?.textContent.trim() ?? ''),
        players: all('audio').map(each => [each.preload, each.getAttribute('aria-label') ?? '']),
        sources: all('article :is(audio, img)').map(each => each.src),
        kinds: all('article div.admonition').map(each => each.className.replace('admonition', '').trim()),
        ids: all('[id]').map(each => each.id),
        links: all('a[href]').map(each => each.href),
    };
}"""


UNFOLD = "document.querySelectorAll('details').forEach(each => { each.open = true; })"
ALIKE = {"exclude": [["table.sortable tbody tr:nth-child(n+20)"]]}
"""What axe-core need not look at: the rows of a long table are alike."""


def serious(page: Page, path: Path) -> list[tuple[str, str, str]]:
    """Return what axe-core finds serious or critical on a page that is one of its kind: rule, place, what is wrong."""
    if axe is None or path not in ONE_OF_A_KIND:
        return []
    page.wait_for_timeout(400)  # the theme looks 300 ms after a change what is to be scrolled
    found = axe.Axe().run(page, ALIKE, options={"resultTypes": ["violations"]}).response["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    return [(each["id"], str(node["target"]), node["failureSummary"]) for each in grave for node in each["nodes"]]


@pytest.fixture(scope="module")
def see(browser: Browser) -> Iterator[Callable[[Path], Seen]]:
    """Return what looks at a page, once for all tests, and always in one window: a new one costs as much again."""
    with opened(browser) as page:

        @cache
        def look(path: Path) -> Seen:
            page.wrong.clear()
            page.set_viewport_size(WIDE)
            page.emulate_media(color_scheme="light")
            settled(page, path)
            found = page.evaluate(FOUND)
            text, wrong = page.locator("article").inner_text(), list(page.wrong)
            page.evaluate(UNFOLD)
            grave = serious(page, path)
            page.set_viewport_size({"width": 390, "height": 844})
            page.emulate_media(color_scheme="dark")
            page.wait_for_selector("html[data-theme=dark]")
            width = page.evaluate("document.documentElement.scrollWidth")
            grave += serious(page, path)
            return Seen(**found | {"ids": set(found["ids"])}, wrong=wrong, text=text, width=width, grave=grave)

        yield look


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_is_whole_without_a_network(see, path):
    """Nothing is missing, no formula is left raw, nothing runs over the edge of a phone, no warning shows."""
    seen = see(path)
    assert seen.wrong == []
    assert seen.broken == []
    raw = ("\\(", "\\[", "$$", "{cite", "{glue", "{eq", "{machine}", "Traceback", "Warning")
    assert [each for each in raw if each in seen.text] == []
    assert seen.heads == 1
    assert seen.width <= 390


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_a_page_is_light_and_its_pictures_and_sounds_are_told_in_words(see, path):
    """With its pictures a page is under 3 MB, and no sound is read before it is played.

    A drawing has words for it: its own, or those beside it in a link.
    """
    seen = see(path)
    files = {file_of(source) for source in seen.sources}  # none of them is embedded
    assert [file for file in files if not file.is_file()] == []
    assert path.stat().st_size < 1e6
    assert path.stat().st_size + sum(file.stat().st_size for file in files if file.suffix != ".mp3") < 3e6
    assert all(preload == "none" and label for preload, label in seen.players)
    assert all(seen.captions)
    assert seen.untold == 0


@pytest.mark.skipif(axe is None, reason="needs axe-playwright-python")
@pytest.mark.parametrize("path", ONE_OF_A_KIND, ids=name)
def test_nothing_stands_in_the_way_of_those_who_see_or_point_otherwise(see, path):
    """axe-core finds nothing serious, all unfolded: in the light on a wide screen, nor in the dark on a phone."""
    assert see(path).grave == []


def test_the_map_leads_through_the_book_by_keyboard(page):
    """Each box of the first page's map is one stop of the Tab key; Enter opens its page; on a phone none is cut off."""
    page.goto((HTML / "book" / "index.html").as_uri())
    boxes = page.locator("ol.pipeline a")
    boxes.first.focus()
    reached = []
    for _ in range(boxes.count()):
        reached.append(page.evaluate("document.activeElement.href"))
        page.keyboard.press("Tab")
    assert reached == [box.evaluate("box => box.href") for box in boxes.all()]
    sections = {"01_dataset", "02_spectrogram_imaging", "03_feature_extraction", "04_detectors"}
    assert sections | {"05_dcae_baselines", "06_results"} == {Path(urlparse(href).path).stem for href in reached}
    page.set_viewport_size({"width": 390, "height": 844})
    places = [box.bounding_box() for box in boxes.all()]
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= 390 for place in places)
    boxes.nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/03_feature_extraction.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white(page, scheme):
    """Printed from a dark screen or a light one, a page is dark on white, without side bars and players, unfolded."""
    page.emulate_media(media="print", color_scheme=scheme)
    settled(page, HTML / "executed" / "fan" / "02_spectrogram_imaging.html")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    shades = page.evaluate("""[...document.querySelectorAll('body, article :is(p, td, pre)')].map(each => {
        const style = getComputedStyle(each);
        return [style.color, style.backgroundColor].map(said => said.match(/[\\d.]+/g).map(Number));
    })""")
    assert all(max(ink[:3]) < 160 for ink, _ in shades)
    assert all(min(ground[:3]) > 230 or ground[3:] == [0] for _, ground in shades)
    for hidden in (".bd-sidebar-primary", "audio", ".tag_hide-input details", "aside.launch"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.get_by_text("dB at most").last.is_visible()  # a solution, which the screen folds away


def test_four_kinds_of_boxes_tell_who_is_speaking(see):
    """A box is the paper's word, what it leaves open, our decision or our finding, on every page."""
    assert {kind for path in PAGES for kind in see(path).kinds} == {"paper", "open", "decision", "finding"}


def test_links_lead_somewhere(see):
    """Every link inside the book leads to a page that is there, and to a place on it that is there."""
    pages = {path: see(path) for path in PAGES}
    links = [(name(path), href) for path, seen in pages.items() for href in seen.links if href.startswith("file:")]
    assert links
    dead = []
    for start, href in links:
        target, place = urldefrag(href)
        file = file_of(target)
        if not file.is_file() or (place and file in pages and unquote(place) not in pages[file].ids):
            dead.append((start, href.removeprefix(HTML.as_uri())))
    assert dead == []


@pytest.mark.parametrize(
    ("word", "page_of"),
    [
        ("bottleneck", "Auto-encoder baselines: fan"),
        ("OC-SVM", "Detectors: fan"),
        ("Hanley", "Results: fan"),
        ("weights", "Feature extraction: fan"),
        ("seed", "Dataset: fan"),
    ],
)
def test_search_finds_what_is_there(page, word, page_of):
    """The search works from disk: a word leads to the page that one would look for it on."""
    assert page_of in found_by_search(page, word)


def test_search_puts_titles_first(page):
    """The name of a machine type leads to its own pages before all that mention it."""
    sections = (
        "Dataset",
        "Spectrogram imaging",
        "Feature extraction",
        "Detectors",
        "Auto-encoder baselines",
        "Results",
    )
    assert set(found_by_search(page, "pump")[:6]) == {f"{section}: pump" for section in sections}


def found_by_search(page: Page, word: str) -> list[str]:
    page.goto((HTML / "search.html").as_uri() + f"?q={word}")
    page.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    return page.locator("#search-results li > a").all_inner_texts()


def test_a_clip_can_be_played(page):
    """A player of the dataset page holds ten seconds of sound that the browser can decode."""
    settled(page, HTML / "executed" / "fan" / "01_dataset.html")
    assert page.locator("figure.clip audio").count() >= 2
    seconds = page.evaluate(
        """async () => {
            const player = document.querySelector('figure.clip audio');
            player.preload = 'metadata';
            player.load();
            await new Promise(done => player.addEventListener('loadedmetadata', done));
            return player.duration;
        }"""
    )
    assert seconds == pytest.approx(10, abs=0.2)  # an MP3 is padded to whole frames


def test_table_1_is_sorted_filtered_and_saved(page):
    """A click on a head sorts by it, again turns round; typed words leave their rows; what is left is saved as CSV."""
    page.goto((HTML / "executed" / "table1.html").as_uri())
    table = page.locator("table.sortable")
    heads = table.locator("thead th").all_inner_texts()

    def column(name: str) -> list[str]:
        return table.locator(f"tbody tr:not([hidden]) td:nth-child({heads.index(name) + 1})").all_inner_texts()

    everything = column("ours")
    table.get_by_role("button", name="ours").click()
    assert column("ours") == sorted(everything, key=float)
    assert table.locator("th[aria-sort=ascending]").inner_text().startswith("ours")
    table.get_by_role("button", name="ours").click()
    assert column("ours") == sorted(everything, key=float, reverse=True)
    page.get_by_role("searchbox", name="Show rows with").fill("fan gmm")
    assert set(column("machine")) == {"fan"}
    assert set(column("detector")) == {"GMM"}
    assert page.get_by_role("status").inner_text() == f"{len(column('ours'))} of {len(everything)}"
    with page.expect_download() as saved:
        page.get_by_role("link", name="Save as CSV").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert len(lines) == 1 + len(column("ours"))
    assert lines[0].split(",")[:3] == ['"machine"', '"ID"', '"features"']
