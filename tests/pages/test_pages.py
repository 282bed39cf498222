"""A small book, rendered from the tests' own miniature and opened from disk in a browser with the network off."""

import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

try:
    import axe_playwright_python.sync_playwright as axe
except ImportError:
    axe = None

ROOT = Path(__file__).parents[2]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
EXECUTED = ("executed/fan/02_spectrogram_imaging", "executed/table1", "executed/real_mimii")
PAGES = [*(f"book/{path.stem}" for path in sorted((ROOT / "book").glob("*.md"))), *EXECUTED]
"""Pages that the tests look at; of the others, the small book (see conftest.py) holds only the titles."""

pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs Chromium or Chrome")


def pytest_generate_tests(metafunc):
    """Look at all pages of the book that is named by --book, or at those of the small one that are more than titles."""
    if {"name", "names"} & {*metafunc.fixturenames}:
        book = metafunc.config.getoption("--book")
        files = sorted(path for part in ("book", "executed") for path in (book / part).rglob("*.html")) if book else []
        names = [path.relative_to(book).with_suffix("").as_posix() for path in files] or PAGES
        for argument, values in (("name", names), ("names", [names])):
            if argument in metafunc.fixturenames:
                metafunc.parametrize(argument, values, ids=None if argument == "name" else ["all"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--allow-file-access-from-files",
        ]
        launched = playwright.chromium.launch(executable_path=BROWSER, args=arguments)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def shared_page(browser: Browser) -> Page:
    """Return a browser tab without a network that records failed requests and errors in `problems`."""
    context = browser.new_context(viewport=WIDE, color_scheme="light", reduced_motion="reduce", offline=True)
    page = context.new_page()
    page.problems = []
    page.on("requestfailed", lambda request: page.problems.append(f"not loaded: {request.url[:120]}"))
    page.on("console", lambda message: page.problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    return page


@pytest.fixture
def page(shared_page: Page) -> Page:
    reset(shared_page)
    return shared_page


def reset(page: Page) -> None:
    """Make the tab wide and light, and forget its problems."""
    page.problems.clear()
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light", media="screen")


def visit(page: Page, path: Path) -> None:
    """Open a page and wait until its mathematics is typeset."""
    page.goto(path.as_uri(), wait_until="load")
    if page.locator(".math").count():
        page.wait_for_function("document.querySelectorAll('.math mjx-container').length > 0", timeout=20_000)


QUERY = """() => {
    const all = selector => [...document.querySelectorAll(selector)];
    const description = figure => figure.getAttribute('aria-label')
        || (figure.ariaHidden === 'true' && figure.closest('a')?.innerText.trim());
    return {
        headings: all('article h1').length,
        wide: document.documentElement.scrollWidth,
        cut_code: all('.cell_input pre').filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText),
        broken_images: all('img').filter(i => i.complete && !i.naturalWidth).map(i => i.src.slice(0, 80)),
        undescribed: all('article img').filter(i => !i.hasAttribute('alt')).length
            + all('article svg.drawing').filter(figure => !description(figure)).length,
        captions: all('article figure').map(figure => figure.querySelector('figcaption')?.textContent.trim() ?? ''),
        players: all('audio').map(player => [player.preload, player.getAttribute('aria-label') ?? '']),
        media: all('article :is(audio, img)').map(element => element.src),
        boxes: all('article div.admonition').map(box => box.className.replace('admonition', '').trim()),
        ids: all('[id]').map(element => element.id),
        links: all('a[href]').map(link => link.href),
    };
}"""


def violations(page: Page) -> list[tuple[str, str, str]]:
    """Return the serious and critical findings of axe-core: rule, element, explanation."""
    if axe is None:
        return []
    page.wait_for_timeout(400)  # the theme makes wide elements focusable 300 ms after a change
    similar = {"exclude": [["table tbody tr:nth-child(n+12)"], ["dl.py:nth-of-type(n+4)"]]}
    response = axe.Axe().run(page, similar, options={"resultTypes": ["violations"]}).response
    serious = [rule for rule in response["violations"] if rule["impact"] in ("serious", "critical")]
    return [(rule["id"], str(node["target"]), node["failureSummary"]) for rule in serious for node in rule["nodes"]]


@pytest.fixture(scope="module")
def render(html: Path, shared_page: Page) -> Callable[[str], SimpleNamespace]:
    """Return what a browser shows of a page, wide and light, then narrow and dark; axe-core reports on both."""
    page = shared_page

    @cache
    def look(name: str) -> SimpleNamespace:
        reset(page)
        visit(page, html / f"{name}.html")
        facts = page.evaluate(QUERY)
        text, problems = page.locator("article").inner_text(), list(page.problems)
        page.evaluate("document.querySelectorAll('details').forEach(folded => { folded.open = true; })")
        axe_reports = violations(page)
        page.set_viewport_size(PHONE)
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("html[data-theme=dark]")
        width = page.evaluate("document.documentElement.scrollWidth")
        axe_reports += violations(page)
        return SimpleNamespace(**facts, problems=problems, text=text, width=width, violations=axe_reports)

    return look


def test_a_page_is_complete_without_a_network(render, name):
    """Every request succeeds, mathematics and results are typeset, nothing overflows, no warning is shown."""
    shown = render(name)
    assert shown.problems == []
    assert shown.broken_images == []
    raw = ("\\(", "\\[", "$$", "{cite", "{glue", "{eq", "{machine}", "Traceback", "Warning")
    assert [text for text in raw if text in shown.text] == []
    assert shown.headings == 1
    assert shown.wide <= WIDE["width"]
    assert shown.width <= PHONE["width"]
    assert shown.cut_code == []


def test_a_page_is_small_and_its_media_are_described(html, render, name):
    """A page with its images is under 3 MB; sounds load when played; figures and players have a description."""
    shown, size = render(name), (html / f"{name}.html").stat().st_size
    files = {Path(unquote(urlparse(source).path)) for source in shown.media}
    assert [file for file in files if not file.is_file()] == []
    assert size < 1e6
    assert size + sum(file.stat().st_size for file in files if file.suffix != ".mp3") < 3e6
    assert all(preload == "none" and label for preload, label in shown.players)
    assert all(shown.captions)
    assert shown.undescribed == 0


@pytest.mark.skipif(axe is None, reason="needs axe-playwright-python")
def test_a_page_is_accessible(render, name):
    """axe-core reports nothing serious on the unfolded page, wide and light or narrow and dark."""
    assert render(name).violations == []


def test_nothing_of_this_machine_is_published(html):
    """No file of the book contains a folder, the name or a secret of this machine."""
    private = {str(Path.home()) + os.sep, str(html.parents[2]), str(ROOT)}
    host = socket.gethostname()
    private |= {host} if len(host) > 5 and host != "localhost" else set()  # "vm" is in many words
    secret = re.compile("token|secret|password|credential|api_?key", re.IGNORECASE)
    private |= {value for key, value in os.environ.items() if secret.search(key) and len(value) >= 8}
    for path in sorted(html.rglob("*")):
        if path.suffix in (".html", ".js", ".json", ".txt", ".inv", ".css", ".svg"):
            text = path.read_text(errors="replace")
            assert not [name for name in private if name in text], path.name


def test_boxes_distinguish_four_sources(render, names):
    """A box is the paper's statement, an open point, our decision or our finding."""
    assert {box for name in names for box in render(name).boxes} == {"paper", "open", "decision", "finding"}


def test_links_within_the_book_resolve(html, render, names):
    """Every link to a file leads to a page that exists, and to an anchor that exists on it."""
    anchors = {html / f"{name}.html": render(name).ids for name in names}
    links = {link for name in names for link in render(name).links if link.startswith("file:")}
    assert links
    dead = []
    for link in links:
        target, anchor = urldefrag(link)
        file = Path(unquote(urlparse(target).path))
        if not file.is_file() or (anchor and unquote(anchor) not in anchors.get(file, {unquote(anchor)})):
            dead.append(link)
    assert dead == []


def test_the_map_leads_through_the_book_by_keyboard(page, html):
    """The book opens on a map: each box is one Tab stop, fits a phone, and opens its page on Enter."""
    page.goto((html / "index.html").as_uri())
    page.wait_for_url("**/book/index.html")
    boxes = page.locator("ol.pipeline a")
    boxes.first.focus()
    reached = []
    for _ in range(boxes.count()):
        reached.append(page.evaluate("document.activeElement.href"))
        page.keyboard.press("Tab")
    assert reached == [box.evaluate("box => box.href") for box in boxes.all()]
    assert {Path(urlparse(link).path).stem for link in reached} == {
        path.stem for path in (ROOT / "notebooks").glob("0[1-6]_*.ipynb")
    }
    page.set_viewport_size(PHONE)
    places = [box.bounding_box() for box in boxes.all()]
    assert all(place["x"] >= 0 and place["x"] + place["width"] <= PHONE["width"] for place in places)
    boxes.nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/02_spectrogram_imaging.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_print_is_dark_on_white(page, html, scheme):
    """A printed page is dark on white, with solutions, but without side bars, players, folded code and launch box."""
    page.emulate_media(media="print", color_scheme=scheme)
    visit(page, html / "executed" / "fan" / "02_spectrogram_imaging.html")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    colours = page.evaluate("""[...document.querySelectorAll('body, article :is(p, td, pre)')].map(element => {
        const style = getComputedStyle(element);
        return [style.color, style.backgroundColor].map(colour => colour.match(/[\\d.]+/g).map(Number));
    })""")
    assert all(max(text[:3]) < 160 for text, _ in colours)
    assert all(min(ground[:3]) > 230 or ground[3:] == [0] for _, ground in colours)
    for hidden in (".bd-sidebar-primary", "audio", ".tag_hide-input details", "aside.launch"):
        assert not page.locator(hidden).first.is_visible(), hidden
    assert page.locator("details.hide").last.locator("pre").first.is_visible()  # the last solution


@pytest.mark.parametrize(
    ("word", "title"),
    [
        ("Hanley", "Table 1, ours and the paper’s"),
        ("spectrogram", "Spectrogram imaging: fan"),
    ],
)
def test_search_finds_pages_from_disk(page, html, word, title):
    """The search needs no server."""
    assert title in results(page, html, word)


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("own recordings", "Hearing faults with an image network"),
        ("false alarm", "Results: fan"),
        ("bootstrap", "Results: fan"),
        ("Gaussian mixture", "Detectors: fan"),
        ("how long", "At full size"),
    ],
)
def test_search_finds_the_page_on_a_term_first(page, html, words, title, names):
    """Of the pages that have a term, the one that explains it comes first."""
    if not any(page_title(html / f"{name}.html") == title for name in names):
        pytest.skip("needs a book with this page: --book")
    assert results(page, html, words)[0].startswith(title)


def page_title(file: Path) -> str:
    """Return the title of a page."""
    return re.search("<title>(.*?)( &#8212; .*)?</title>", file.read_text(), re.DOTALL)[1].strip()


def results(page: Page, html: Path, words: str) -> list[str]:
    """Type words into the search page; return the titles that it finds, best first."""
    page.goto((html / "search.html").as_uri())
    page.locator("main input[type=search]").first.fill(words)
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.search-summary')?.innerText.includes('found')")
    return page.locator("#search-results li > a").all_inner_texts()


def test_a_clip_can_be_played(page, html):
    """A player of the page on imaging holds ten seconds of sound that the browser can decode."""
    visit(page, html / "executed" / "fan" / "02_spectrogram_imaging.html")
    seconds = page.evaluate("""async () => {
        const player = document.querySelector('figure.clip audio');
        player.preload = 'metadata';
        player.load();
        await new Promise(done => player.addEventListener('loadedmetadata', done));
        return player.duration;
    }""")
    assert seconds == pytest.approx(10, abs=0.2)  # an MP3 is padded to whole frames


def test_cells_of_table_1_are_sorted_filtered_and_saved(page, html):
    """Clicks on a head sort upwards, then downwards; words filter rows; the shown rows are saved as CSV."""
    page.goto((html / "executed" / "table1.html").as_uri())
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
    page.get_by_role("searchbox", name="Show rows with").fill("fan kde")
    assert set(column("machine")) == {"fan"}
    assert set(column("detector")) == {"KDE"}
    assert page.get_by_role("status").inner_text() == f"{len(column('ours'))} of {len(everything)}"
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as CSV").click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert len(lines) == 1 + len(column("ours"))
    assert lines[0].split(",")[:3] == ['"machine"', '"ID"', '"features"']


def test_one_path_leads_through_the_pages_of_a_machine_type(page, html):
    """From the approach to Table 1, next leads through the six pages of a type; its contents lead to the same six."""
    for machine in ("fan", "valve"):
        pages = [f"executed/{machine}/{path.stem}" for path in sorted((ROOT / "notebooks").glob("0[1-6]_*.ipynb"))]
        page.goto((html / f"{pages[0]}.html").as_uri())
        assert page.locator("a.left-prev").evaluate("link => link.href").endswith("book/approach.html")
        for name in pages:
            page.wait_for_url(f"**/{name}.html")
            links = page.locator(".bd-sidebar-primary li a").evaluate_all("links => links.map(link => link.href)")
            assert [link for link in links if "/0" in link] == [
                (html / f"{other}.html").as_uri() + "#" * (other == name) for other in pages
            ]
            page.locator("a.right-next").click()
        page.wait_for_url("**/executed/table1.html")


def test_the_machine_type_is_switched_by_keyboard(page, html):
    """Enter on another type opens the same page of it, which says where the derivations are; it is not searched."""
    page.goto((html / "executed" / "fan" / "04_detectors.html").as_uri())
    switch = page.get_by_role("navigation", name="Machine type")
    assert switch.locator("[aria-current=page]").inner_text() == "Fan"
    switch.get_by_role("link", name="Valve").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/valve/04_detectors.html")
    assert switch.locator("[aria-current=page]").inner_text() == "Valve"
    page.get_by_role("link", name="the page of the fan").click()
    page.wait_for_url("**/fan/04_detectors.html")
    assert "/valve/" in (html / "searchindex.js").read_text()
    assert "Detectors: fan" in results(page, html, "detectors")
    assert not [title for title in results(page, html, "valve") if title.endswith(": valve")]


def test_code_leads_to_the_functions_that_it_uses(page, html):
    """A function in the code of a page links to its entry, which has its parameters, on the API page."""
    page.goto((html / "executed" / "fan" / "02_spectrogram_imaging.html").as_uri())
    page.locator(".cell_input a", has_text="log_mel").first.click()
    page.wait_for_url("**/book/api.html#mimii_lib.imaging.log_mel")
    assert "array of shape (n_mels, frames)" in page.locator("dl", has=page.locator("dt:target")).inner_text()
