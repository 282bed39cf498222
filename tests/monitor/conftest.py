"""Fixtures: sounds of a small machine, and a monitor that is fitted on them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from hum import RATE, SYSTEM, sound

from mimii_lib import Monitor

Maker = Callable[..., Path]


@pytest.fixture(scope="session")
def record() -> Maker:
    """Return a function that writes so many recordings into a folder, and returns the folder."""

    def write(folder: Path, seeds: range, suffix: str = ".wav", **how: object) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            soundfile.write(folder / f"{seed:03d}{suffix}", sound(seed, **how), how.get("rate", RATE))
        return folder

    return write


@pytest.fixture(scope="session")
def normal(record: Maker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of twenty normal recordings."""
    return record(tmp_path_factory.mktemp("machine") / "normal", range(20))


@pytest.fixture(scope="session")
def monitor(normal: Path) -> Monitor:
    """Return a monitor of them."""
    return Monitor.fit([normal], system=SYSTEM)


@pytest.fixture(scope="session")
def model(monitor: Monitor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return its file."""
    monitor.save(file := tmp_path_factory.mktemp("models") / "machine.mimii")
    return file
