"""§5 Imaging: waveform → log-mel spectrogram → patches → RGB images.

Conventions
-----------
Shapes of one clip of 10 s, at the paper's settings::

    waveform          (160000,)            float32, [-1, 1]
    log-mel           (64, 626)            float32, dB, mel bands from low to high
    patches           (18, 64, 64)         uint8, indices into the colour map, low frequencies at the bottom
    RGB patches       (18, 3, 64, 64)      float32, [0, 1]
    extractor input   (18, 3, 224, 224)    float32, ImageNet-standardised

A patch is kept as its pixels' indices into the 256 colours of the colour map: the same information as the RGB image,
in a twelfth of the memory. `settings` is a :class:`mimii_lib.settings.Imaging` in every function.
"""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

if TYPE_CHECKING:  # torch takes seconds to import, and spectrograms and patches need none
    import torch

LEAST_POWER = 1e-10  # what a lower mel power counts as

# The settings that change the log-mel spectrogram; the others act after it.
SPECTROGRAM_SETTINGS = (
    *("sample_rate", "seconds", "channel"),
    *("n_mels", "window", "hop", "pad_mode", "db_reference", "top_db"),
)


def log_mel(waveform: NDArray[np.float32], settings: Imaging) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a clip: 64 mel bands, Hann window of 1024, hop of 256 (§5).

    Parameters
    ----------
    waveform : array of shape (samples,)

    Returns
    -------
    array of shape (n_mels, frames)
        In dB, at most `top_db` below the clip's maximum. 0 dB is that maximum or, where `db_reference` is fixed, a mel
        power of 1.
    """
    # librosa computes the same, bit for bit, but its import takes as long as a whole recording may take to be scored.
    padded = np.pad(waveform, settings.window // 2, mode=settings.pad_mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, settings.window)[:: settings.hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(settings.window) / settings.window)
    spectrum = np.fft.rfft(hann * frames, axis=1).astype(np.complex64).T
    mel = mel_filters(settings.sample_rate, settings.window, settings.n_mels) @ np.abs(spectrum) ** 2
    reference = mel.max() if settings.db_reference == "clip" else 1.0
    decibels = 10 * np.log10(np.maximum(LEAST_POWER, mel)) - 10 * np.log10(np.maximum(LEAST_POWER, reference))
    return np.maximum(decibels, decibels.max() - settings.top_db).astype(np.float32)


@cache
def mel_filters(sample_rate: int, window: int, n_mels: int) -> NDArray[np.float32]:
    """Return librosa's mel filter bank: triangles of equal area on the mel scale, (n_mels, window / 2 + 1)."""
    edges = mel_edges(n_mels, sample_rate)
    widths, offsets = np.diff(edges)[:, None], edges[:, None] - np.fft.rfftfreq(window, 1 / sample_rate)
    triangles = np.minimum(-offsets[:-2] / widths[:-1], offsets[2:] / widths[1:])
    filters = np.maximum(0, triangles).astype(np.float32)
    filters *= 2 / (edges[2:] - edges[:-2])[:, None]
    return filters


def mel_edges(n_mels: int, sample_rate: int) -> NDArray[np.float64]:
    """Return the frequencies in Hz that the mel bands lie between, (n_mels + 2,): band i from i to i + 2.

    The mel scale is Slaney's, librosa's default: 200/3 Hz a mel below 1000 Hz, above it 27 mels for a factor of 6.4.
    """
    highest = 15 + 27 * np.log(sample_rate / 2 / 1000) / np.log(6.4)
    mels = np.linspace(0, highest, n_mels + 2)
    return np.where(mels < 15, 200 * mels / 3, 1000 * np.exp(np.log(6.4) * (mels - 15) / 27))


def scaled(
    decibels: NDArray[np.float32], settings: Imaging, limits: tuple[float, float] | None = None
) -> NDArray[np.float32]:
    """Scale a clip's spectrogram, or a patch of it, to [0, 1].

    Parameters
    ----------
    decibels : array of any shape
    limits : pair of numbers, optional
        Decibels that become 0 and 1; values beyond are clipped. None: -80 and 0 dB where `scaling` is range, else the
        minimum and maximum of `decibels`. A constant array becomes 0.
    """
    if limits is None and settings.scaling == "range":
        limits = (-80.0, 0.0)
    low, high = limits or (decibels.min(), decibels.max())
    return ((decibels - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(decibels)


def patches(
    decibels: NDArray[np.float32], settings: Imaging, limits: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Cut a log-mel spectrogram into patches by a sliding window along time (§3, §5).

    Parameters
    ----------
    decibels : array of shape (n_mels, frames)
    limits : pair of numbers, optional
        See :func:`scaled`.

    Returns
    -------
    array of shape (patches, n_mels, patch_frames), uint8
        Indices into the colour map. The first row of a patch is its highest mel band, unless `origin` is upper.

    Raises
    ------
    MimiiError
        If the spectrogram is shorter than a patch.
    """
    if decibels.shape[1] < settings.patch_frames:
        raise MimiiError(
            f"spectrogram: {decibels.shape[1]} frames found, a patch needs {settings.patch_frames}; "
            "use longer clips or shorter patches"
        )
    if settings.scaling != "patch":
        decibels = scaled(decibels, settings, limits)
    windows = np.lib.stride_tricks.sliding_window_view(decibels, settings.patch_frames, axis=1)
    values = windows[:, :: settings.patch_offset].transpose(1, 0, 2)
    if settings.scaling == "patch":
        values = np.stack([scaled(patch, settings) for patch in values])
    if settings.origin == "lower":
        values = values[:, ::-1]
    # matplotlib's rule: 256 equal steps, and 1.0 belongs to the last one.
    return np.ascontiguousarray(np.minimum((values * 256).astype(np.int16), 255).astype(np.uint8))


def patch_starts(frames: int, settings: Imaging) -> NDArray[np.int64]:
    """Return the first frame of every patch in a spectrogram of `frames` frames (§5)."""
    return np.arange(0, frames - settings.patch_frames + 1, settings.patch_offset)


def seconds(frames: int, settings: Imaging) -> float:
    """Return the duration of `frames` hops in seconds."""
    return frames * settings.hop / settings.sample_rate


@cache
def colour_table(name: str) -> "torch.Tensor":
    """Return the colour map `name` as RGB values: (256, 3), float32, [0, 1]."""
    import matplotlib
    import torch

    return torch.tensor(matplotlib.colormaps[name](np.arange(256))[:, :3], dtype=torch.float32)


def rgb_patches(colormap_indices: NDArray[np.uint8], settings: Imaging) -> "torch.Tensor":
    """Return patches, uint8 (n, height, width), as RGB images, (n, 3, height, width) in [0, 1] (§5)."""
    import torch

    colours = colour_table(settings.colormap)[torch.from_numpy(np.array(colormap_indices)).long()]
    return colours.permute(0, 3, 1, 2).contiguous()


def standardised_colours(mean: tuple[float, ...], std: tuple[float, ...], settings: Imaging) -> "torch.Tensor":
    """Return the colour map minus `mean`, divided by `std`, for each of R, G and B: (256, 3) (§5).

    Interpolation is a weighted average whose weights add up to 1, so standardising the 256 colours equals standardising
    every pixel of the enlarged images.
    """
    import torch

    return (colour_table(settings.colormap) - torch.tensor(mean)) / torch.tensor(std)


def upscaling(side: int, size: int) -> "torch.Tensor":
    """Return linear interpolation from `side` to `size` pixels as a matrix: (size, side), pixel-centred."""
    import torch
    from torch.nn.functional import interpolate

    return interpolate(torch.eye(side)[None], size=size, mode="linear", align_corners=False)[0].T


def extractor_input(
    colormap_indices: "torch.Tensor", colours: "torch.Tensor", rows: "torch.Tensor", columns: "torch.Tensor"
) -> "torch.Tensor":
    """Return patches as an extractor takes them: coloured, standardised and up-scaled to 224 x 224 (§5).

    Bilinear interpolation is separable: two matrix products take half the time of the engines' own interpolation.

    Parameters
    ----------
    colormap_indices : tensor of shape (n, height, width), uint8
        Patches, as returned by :func:`patches`.
    colours : tensor of shape (256, 3)
        See :func:`standardised_colours`.
    rows, columns : tensors of shape (image_size, height) and (image_size, width)
        See :func:`upscaling`.

    Returns
    -------
    tensor of shape (n, 3, image_size, image_size)
    """
    from torch.nn.functional import embedding

    small = embedding(colormap_indices.long(), colours).permute(0, 3, 1, 2)
    return rows @ small @ columns.T
