"""Networks that were trained on sound: each has a front end of its own instead of pictures.

Conventions
-----------
Shapes of one clip of 10 s::

    waveform                                (160000,)          float32, [-1, 1], 16 kHz
    speech embedding: windows, features     (25, 76, 32)       (25, 96)
    YAMNet: windows, features               (19, 96, 64)       (19, 1024)

A window overlaps the next one by half, as the paper's patches do (§5); a rest at the end of a clip makes no window.
Both front ends keep the level: 0 dB is a fixed power. They are registered below as the networks of
:mod:`mimii_lib.extractors` are, and :func:`windows` brings a clip to the sample rate of a network.
"""

from collections import OrderedDict
from functools import cache
from typing import TYPE_CHECKING

import librosa
import numpy as np
from numpy.typing import NDArray

from mimii_lib.errors import MimiiError
from mimii_lib.extractors import Extractor, register, without_layer

if TYPE_CHECKING:
    from torch import nn

SAMPLE_RATE, FFT, WINDOW, HOP = 16_000, 512, 400, 160
"""Hz, and lengths in samples: both networks take spectra of 25 ms, 10 ms apart."""

SPEECH_WINDOW, YAMNET_WINDOW = 76, 96  # frames
SPEECH_FULL_SCALE = 32_768  # the speech embedding takes samples as 16-bit integers
YAMNET_OFFSET = 0.001  # added to a mel magnitude before its logarithm
YAMNET_BANDS, YAMNET_LOWEST, YAMNET_HIGHEST = 64, 125.0, 7500.0  # number of mel bands, and their limits in Hz

YAMNET_LAYERS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Maps and stride of each of the 13 pairs of a depthwise and a pointwise convolution."""

SPEECH_LAYERS = (  # maps, number of convolutions along frequency and time in turn, size of the max pooling
    *((24, 2, (2, 2)), (48, 4, (1, 2)), (72, 4, (2, 2))),
    *((96, 4, (1, 2)), (96, 4, (2, 2))),
)


def windows(waveform: NDArray[np.float32], sample_rate: int, extractor: Extractor) -> NDArray[np.float32]:
    """Return what an audio network takes of a clip, resampled to the network's rate: (windows, height, width).

    A recording at a lower rate than the network's has silence above half of its own.

    Parameters
    ----------
    waveform : array of shape (samples,)
    sample_rate
        Of the waveform, in Hz.

    Raises
    ------
    MimiiError
        If the network takes pictures, or the clip is shorter than a window.
    """
    if extractor.front_end is None:
        raise MimiiError(f"{extractor.name}: takes pictures; name an extractor with a front end of its own")
    if sample_rate != extractor.sample_rate:
        waveform = librosa.resample(waveform, orig_sr=sample_rate, target_sr=extractor.sample_rate)
    return extractor.front_end(waveform)


def speech_windows(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the speech embedding takes: log-mel windows of 32 bands from 60 to 3800 Hz.

    The package's ``melspectrogram.tflite`` computes the same.

    Parameters
    ----------
    waveform : array of shape (samples,), 16 kHz

    Returns
    -------
    array of shape (windows, 76, 32)
        Decibels / 10 + 2, at most 80 dB below the clip's maximum.
    """
    _check_length(waveform, SPEECH_WINDOW, FFT)
    power = librosa.feature.melspectrogram(
        y=SPEECH_FULL_SCALE * waveform,
        sr=SAMPLE_RATE,
        n_fft=FFT,
        win_length=WINDOW,
        hop_length=HOP,
        center=False,
        n_mels=32,
        fmin=60,
        fmax=3800,
    )
    return _overlapping(librosa.power_to_db(power) / 10 + 2, SPEECH_WINDOW)


def yamnet_windows(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what YAMNet takes: log-mel windows of 64 bands from 125 to 7500 Hz.

    Source: the front end of AudioSet's networks, Hershey et al. (2017), CNN architectures for large-scale audio
    classification, arXiv:1609.09430.

    Parameters
    ----------
    waveform : array of shape (samples,), 16 kHz

    Returns
    -------
    array of shape (windows, 96, 64)
        Natural logarithm of the mel magnitude + 0.001.
    """
    _check_length(waveform, YAMNET_WINDOW, WINDOW)
    framed = np.pad(waveform, (FFT - WINDOW) // 2)  # librosa centres a window of 400 samples in a frame of 512
    magnitude = np.abs(librosa.stft(framed, n_fft=FFT, win_length=WINDOW, hop_length=HOP, center=False))
    return _overlapping(np.log(_yamnet_bands() @ magnitude + YAMNET_OFFSET), YAMNET_WINDOW)


@cache
def _yamnet_bands() -> NDArray[np.float32]:
    """Return YAMNet's mel bands as a matrix, (bands, FFT / 2 + 1): triangles over mel, where librosa's are over Hz."""
    of_bin = librosa.hz_to_mel(librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=FFT), htk=True)
    lowest, highest = librosa.hz_to_mel([YAMNET_LOWEST, YAMNET_HIGHEST], htk=True)
    edges = np.linspace(lowest, highest, YAMNET_BANDS + 2)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((of_bin - low) / (centre - low), (high - of_bin) / (high - centre))
    return np.maximum(0, triangles).astype(np.float32)


def _check_length(waveform: NDArray[np.float32], n_frames: int, frame: int) -> None:
    needed = frame + (n_frames - 1) * HOP
    if len(waveform) < needed:
        seconds, shortest = len(waveform) / SAMPLE_RATE, needed / SAMPLE_RATE
        raise MimiiError(f"waveform: {seconds:.3f} s found, a window needs {shortest:.3f} s; use longer clips")


def _overlapping(bands: NDArray[np.float32], n_frames: int) -> NDArray[np.float32]:
    """Cut a spectrogram, (bands, frames), into windows that overlap by half: (windows, n_frames, bands)."""
    cut = np.lib.stride_tricks.sliding_window_view(bands, n_frames, axis=1)[:, :: n_frames // 2]
    return np.ascontiguousarray(cut.transpose(1, 2, 0), dtype=np.float32)


def yamnet() -> "nn.Module":
    """Return YAMNet, untrained: windows (n, 96, 64) → logits of AudioSet's 521 classes, (n, 521).

    It is MobileNet v1 (Howard et al., 2017, arXiv:1704.04861) on one plane; batch normalisation is part of the
    convolutions. Its weights are named conv0, dw1, pw1, …, dw13, pw13 and classifier.
    """
    from torch import nn

    layers: dict[str, nn.Module] = {"plane": nn.Unflatten(1, (1, -1)), "pad0": nn.ZeroPad2d((0, 1, 0, 1))}
    layers |= {"conv0": nn.Conv2d(1, width := 32, 3, stride=2), "relu0": nn.ReLU()}
    for number, (maps, stride) in enumerate(YAMNET_LAYERS, 1):
        # TensorFlow's padding: where the stride is 2, nothing before the first row and column.
        layers[f"pad{number}"] = nn.ZeroPad2d((0, 1, 0, 1) if stride == 2 else 1)
        layers[f"dw{number}"] = nn.Conv2d(width, width, 3, stride=stride, groups=width)
        layers[f"dw{number}_relu"] = nn.ReLU()
        layers[f"pw{number}"] = nn.Conv2d(width, maps, 1)
        layers[f"pw{number}_relu"] = nn.ReLU()
        width = maps
    layers |= {"mean": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "classifier": nn.Linear(width, 521)}
    return nn.Sequential(OrderedDict(layers))


def speech_embedding() -> "nn.Module":
    """Return Google's speech embedding, untrained: windows (n, 76, 32) → features (n, 96).

    Its 20 convolutions are named conv0 to conv19. Source: Lin et al. (2020), Training keyword spotters with limited and
    synthesized speech data, arXiv:2002.01322.
    """
    from torch import nn

    shapes: list[tuple[int, tuple[int, int]]] = [(24, (3, 3))]
    pools: dict[int, tuple[int, int]] = {}
    for maps, number, pool in SPEECH_LAYERS:
        shapes += [(maps, ((1, 3), (3, 1))[at % 2]) for at in range(number)]
        pools[len(shapes) - 1] = pool
    shapes.append((96, (3, 1)))
    layers: dict[str, nn.Module] = {"plane": nn.Unflatten(1, (1, -1))}
    width = 1
    for number, (maps, kernel) in enumerate(shapes):
        # The edges of the frequency axis are padded, those of time are not.
        layers[f"conv{number}"] = nn.Conv2d(width, maps, kernel, padding=(0, kernel[1] // 2))
        if number < len(shapes) - 1:
            layers |= {f"relu{number}": nn.LeakyReLU(0.2), f"floor{number}": nn.Hardtanh(-0.4, float("inf"))}
        if number in pools:
            layers[f"pool{number}"] = nn.MaxPool2d(pools[number])
        width = maps
    return nn.Sequential(OrderedDict(layers | {"flat": nn.Flatten()}))


def _uncut(net: "nn.Module") -> "nn.Module":
    return net


for _extractor in (
    Extractor("speech_embedding", "Speech embedding", 96, speech_embedding, _uncut, front_end=speech_windows),
    Extractor("yamnet", "YAMNet", 1024, yamnet, without_layer("classifier"), front_end=yamnet_windows),
):
    register(_extractor)
