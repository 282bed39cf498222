"""Stage: recordings → features of a network with a front end of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib import extractors
from mimii_lib.data.weights import Weights
from mimii_lib.extractors import Extractor
from mimii_lib.run.stages.features import network_features
from mimii_lib.run.stages.spectrograms import waveforms
from mimii_lib.settings import Settings
from mimii_lib.systems import audio_networks


def extract_audio_features(
    clips: Mapping[Path, str], weights: Weights, settings: Settings, description: str = ""
) -> NDArray[np.float32]:
    """Return the features of clips, given by file with their sha256: (clips, windows, dimension).

    Raises
    ------
    MimiiError
        If a file has another sha256, a clip is shorter than a window, or the weights describe a window by what is no
        number, or different windows by the same numbers.
    """
    extractor, rate = extractors.get(weights.extractor), settings.imaging.sample_rate
    sounds = waveforms(clips, settings.imaging, f"{description} {extractor.title}: windows")
    return network_features(
        np.stack([audio_networks.windows(sound, rate, extractor) for sound in sounds]), weights, settings
    )


def waveform_settings(settings: Settings, extractor: Extractor) -> dict[str, Any]:
    """Return what the waveform that an audio network takes depends on, beside the recording."""
    imaging = settings.imaging
    return {name: getattr(imaging, name) for name in ("sample_rate", "seconds", "channel")} | {
        "resampled": extractor.sample_rate
    }


def windows_of_a_clip(extractor: str, settings: Settings) -> int:
    """Return how many windows an audio network takes of a clip."""
    silence = np.zeros(settings.imaging.samples, np.float32)
    return len(audio_networks.windows(silence, settings.imaging.sample_rate, extractors.get(extractor)))
