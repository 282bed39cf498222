"""Sounds of a small machine: a hum in noise, and a fault that whistles."""

import numpy as np

RATE = 16_000
SYSTEM = "loudest-mahalanobis"  # needs no network


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
