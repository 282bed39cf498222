"""Sounds and spectrograms as addresses that hold their content, for pages that need no network."""

import base64
import io
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

RANGE = 80.0  # dB of a spectrogram, down from the loudest


def flac(samples: NDArray[np.float32], rate: int) -> str:
    """Return a sound within ±1, (samples,), as FLAC of 16 bits."""
    return _encoded("audio/flac", samples, rate, format="FLAC", subtype="PCM_16")


def mp3(samples: NDArray[np.float32], rate: int) -> str:
    """Return a sound within ±1, (samples,), as MP3 at about 80 kbit/s."""
    return _encoded("audio/mpeg", samples, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)


def spectrogram(decibels: NDArray[np.float32], loudest: float) -> str:
    """Return a spectrogram (n_mels, frames) as PNG, low frequencies at the bottom; `loudest` dB are the brightest."""
    import matplotlib
    from PIL import Image

    image = Image.fromarray((256 * (1 + (decibels[::-1] - loudest) / RANGE)).clip(0, 255).astype(np.uint8))
    image.putpalette(matplotlib.colormaps["viridis"](np.arange(256), bytes=True)[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return _address("image/png", buffer)


def _encoded(kind: str, samples: NDArray[np.float32], rate: int, **how: Any) -> str:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, **how)
    return _address(kind, buffer)


def _address(kind: str, buffer: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
