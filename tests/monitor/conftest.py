"""Fixtures: sounds of a small machine, and a monitor that is fitted on them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mimii_lib import Monitor

RATE = 16_000
SYSTEM = "loudest-mahalanobis"  # needs no network
Maker = Callable[..., Path]


def sound(seed: int, *, fault: bool = False, seconds: float = 1.1, rate: int = RATE, level: float = 0.05) -> np.ndarray:
    """Return a hum in noise, of a loudness and a colour that vary; a fault whistles at 3 kHz in its second half."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    noise = random.standard_normal(len(time))
    noise = noise + random.uniform(0.4, 0.6) * np.roll(noise, 1)
    samples = noise + random.uniform(0.8, 1.2) * np.sin(2 * np.pi * 120 * time + random.uniform(0, 6))
    if fault:
        samples += (time > seconds / 2) * np.sin(2 * np.pi * 3000 * time)
    return (level * random.uniform(0.9, 1.1) * samples).astype(np.float32)


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
