"""Fixtures: the recordings that the tests run on, and a profile that is quick; the paper's statements in the marks."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before mimii_lib is imported anywhere: tests leave the checkout's cache alone, and the user's variables do not count.
_CACHE = tempfile.TemporaryDirectory(prefix="mimii-tests-")
os.environ["MIMII_CACHE"] = _CACHE.name
for name in ("MIMII_WEIGHTS", "MIMII_OFFLINE"):
    os.environ.pop(name, None)
# On a machine that is shared, threads that wait for work would keep others from theirs: four times as slow.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # which are as many as there are cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import soundfile
from filelock import FileLock

from mimii_lib.data import miniature
from mimii_lib.errors import MimiiError

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
QUICK = """\
detectors: [kde]
seeds: [0]
settings:
  imaging: {patch_offset: 281}
  detectors: {n_components: 2, n_trees: 8}
  autoencoders:
    epochs: 1
"""
LONGEST = ("pages", "notebooks", "extractors", "autoencoders", "open_points", "explanations", "cli", "workflow")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: workers that share the files then end at about the same time."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the statements of the marks ``paper``, and the one that names a book to look at."""
    parser.addoption(
        "--paper-statements", metavar="FILE", type=Path, help="write the paper's tested statements as JSON"
    )
    parser.addoption(
        "--book", metavar="DIR", type=Path, help="look at every page of this rendered book, not at those of a small one"
    )
    parser.addoption(
        "--grid", action="store_true", help="run every notebook on every choice of the grid, not the telling ones alone"
    )


def pytest_collection_finish(session: pytest.Session) -> None:
    """Write the statements of all marks ``paper`` if that is asked for."""
    if file := session.config.getoption("--paper-statements"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(paper_statements(session.items), indent=1, ensure_ascii=False) + "\n")


def paper_statements(items: list[pytest.Item]) -> list[dict[str, str]]:
    """Return the statements of the marks ``paper`` with their tests; a mark that names unknown code is an error."""
    from mimii_lib.pages import conformance

    rows = {}
    for item in items:
        test, docstring = item.nodeid.partition("[")[0], item.function.__doc__
        for mark in reversed(list(item.iter_markers("paper"))):  # the topmost first
            try:
                row = conformance.statement(test, docstring, *mark.args, **mark.kwargs)
            except (MimiiError, TypeError) as error:
                raise pytest.UsageError(f"{test}: {error}") from None
            rows[test, row["statement"]] = row  # once for all parameters of a test
    return list(rows.values())


@pytest.fixture(scope="session")
def statements(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Return the statements that the marks of all tests make; where only some tests run, all are collected for it."""
    items = request.session.items
    if {item.path for item in items} >= set(ROOT.glob("tests/*/test_*.py")):
        return paper_statements(items)
    file = tmp_path_factory.mktemp("marks") / "statements.json"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--paper-statements", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference files beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("needs the folder of reference files beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def real(shared: Path) -> Path:
    """Return the folder of real recordings."""
    if not (shared / "real_mimii").is_dir():
        pytest.skip("needs real recordings")
    return shared / "real_mimii"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a miniature for all workers: two machine types, four IDs, 12 normal and 3 abnormal clips each."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "miniature"
    with FileLock(f"{folder}.lock"):
        miniature.make_miniature(folder, snr=-6, normal=12, abnormal=3, machines=("fan", "valve"))
    return folder


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> list[np.ndarray]:
    """Return one normal clip of every machine type: real ones where there are any."""
    folder = SHARED / "real_mimii"
    folder = folder if folder.is_dir() else request.getfixturevalue("tiny")
    first = [sorted(machine.glob("id_00/normal/*.wav"))[0] for machine in sorted(folder.glob("*_dB_*/*"))]
    return [soundfile.read(path, dtype="float32", always_2d=True)[0][:, 0] for path in first]


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a profile with three patches a clip, two mixture components and one epoch."""
    file = tmp_path_factory.mktemp("profiles") / "quick.yaml"
    file.write_text(QUICK)
    return file


@pytest.fixture
def profile(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that writes a profile and returns its path."""

    def write(text: str, name: str = "some.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


@pytest.fixture(scope="session")
def wav() -> Callable[..., Path]:
    """Return a function that writes a clip of noise."""

    def write(path: Path, *, seed: int = 0, samples: int = 160_000, rate: int = 16_000, **how: object) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = 0.1 * np.random.default_rng(seed).standard_normal(samples).clip(-5, 5)
        soundfile.write(path, sound, rate, **how)
        return path

    return write
