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

import librosa
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import embedding, interpolate

from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

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
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=settings.sample_rate,
        n_fft=settings.window,
        hop_length=settings.hop,
        n_mels=settings.n_mels,
        window="hann",
        pad_mode=settings.pad_mode,
        power=2.0,
    )
    reference = np.max if settings.db_reference == "clip" else 1.0
    return librosa.power_to_db(power, ref=reference, top_db=settings.top_db).astype(np.float32)


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
def colour_table(name: str) -> torch.Tensor:
    """Return the colour map `name` as RGB values: (256, 3), float32, [0, 1]."""
    return torch.tensor(matplotlib.colormaps[name](np.arange(256))[:, :3], dtype=torch.float32)


def rgb_patches(colormap_indices: NDArray[np.uint8], settings: Imaging) -> torch.Tensor:
    """Return patches, uint8 (n, height, width), as RGB images, (n, 3, height, width) in [0, 1] (§5)."""
    colours = colour_table(settings.colormap)[torch.from_numpy(np.array(colormap_indices)).long()]
    return colours.permute(0, 3, 1, 2).contiguous()


def standardised_colours(mean: tuple[float, ...], std: tuple[float, ...], settings: Imaging) -> torch.Tensor:
    """Return the colour map minus `mean`, divided by `std`, for each of R, G and B: (256, 3) (§5).

    Interpolation is a weighted average whose weights add up to 1, so standardising the 256 colours equals standardising
    every pixel of the enlarged images.
    """
    return (colour_table(settings.colormap) - torch.tensor(mean)) / torch.tensor(std)


def upscaling(side: int, size: int) -> torch.Tensor:
    """Return linear interpolation from `side` to `size` pixels as a matrix: (size, side), pixel-centred."""
    return interpolate(torch.eye(side)[None], size=size, mode="linear", align_corners=False)[0].T


def extractor_input(
    colormap_indices: torch.Tensor, colours: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
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
    small = embedding(colormap_indices.long(), colours).permute(0, 3, 1, 2)
    return rows @ small @ columns.T
