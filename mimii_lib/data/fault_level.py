"""The level of the miniature's faults: how much of what is heard a fault changes.

A machine is synthesised twice from the same random draw, without and with its fault, and both sounds are scaled to the
same RMS, as in a clip. The level of the fault is the change of power over the power of the rest, in dB, in the mel band
where this ratio is largest. The rest is all that can mask the fault in its band: the normal sound of the machine and
the factory noise, as loud as the SNR sets it.

Powers are compared, not samples: a fault that changes the pace of a machine shifts its phases, and the difference of
two shifted sounds is as loud as both together, however slight the fault. The windows of 256 ms are about as long as the
ear takes to judge a loudness, and the mel bands about as wide as it takes for one.
"""

from functools import cache

import librosa
import numpy as np
from numpy.typing import NDArray

from mimii_lib.data.synthesis import FAULTS, MODELS, SAMPLE_RATE, Sound, factory_noise, rms


def mel_powers(sound: Sound) -> NDArray[np.float64]:
    """Return the power of a sound in 64 mel bands and 79 windows of 256 ms, shape (64, 79), once its RMS is 1."""
    scaled = sound / rms(sound)
    return librosa.feature.melspectrogram(y=scaled, sr=SAMPLE_RATE, n_fft=4096, hop_length=2048, n_mels=64)


@cache
def machine_powers(machine: str, machine_id: str, severity: float, draws: int) -> NDArray[np.float64]:
    """Return the mel powers of a machine with its fault at this severity: (draws, 64, 79), the same draws for each."""
    kinds = FAULTS[machine, machine_id].kinds(severity)
    model = MODELS[machine, machine_id]
    return np.array([mel_powers(model.synthesize(np.random.default_rng(draw), kinds)) for draw in range(draws)])


@cache
def noise_powers(draws: int) -> NDArray[np.float64]:
    """Return the mel powers of the factory noise: (draws, 64, 79)."""
    return np.array([mel_powers(factory_noise(np.random.default_rng(draw))) for draw in range(draws)])


def fault_level(machine: str, machine_id: str, severity: float, *, draws: int = 8, snr: float = -6) -> float:
    """Return the level of the fault of a machine ID at a severity from 0 to 1, in dB; see the head of this module.

    The powers are averaged over the clip and over `draws` draws. `snr` is that of :func:`~.miniature.clip_parts`.
    """
    normal = machine_powers(machine, machine_id, 0.0, draws)
    change = np.abs(machine_powers(machine, machine_id, severity, draws) - normal).mean(axis=(0, 2))
    rest = (normal + 10 ** (-snr / 10) * noise_powers(draws)).mean(axis=(0, 2))
    with np.errstate(divide="ignore"):  # a fault of severity 0 has a level of minus infinity
        return float(10 * np.log10((change / rest).max()))
