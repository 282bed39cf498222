"""§5 imaging: wav → log-mel spectrogram → patches → pictures.

Shapes, at the paper's settings, for one clip of 10 s::

    waveform          (160000,)            float32, [-1, 1]
    log-mel           (64, 626)            float32, dB, mel bands from low to high
    patches           (18, 64, 64)         uint8, entries of the colour map, low frequencies at the bottom
    pictures          (18, 3, 64, 64)      float32, [0, 1], RGB
    extractor input   (18, 3, 224, 224)    float32, ImageNet-standardised

A patch is kept as the entries of the 256-entry colour map that its pixels have: that *is* the picture,
at a twelfth of the memory.
"""

from functools import cache

import librosa
import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

OF_THE_SPECTROGRAM = (
    "sample_rate",
    "seconds",
    "channel",
    "n_mels",
    "window",
    "hop",
    "pad_mode",
    "db_reference",
    "top_db",
)
"""The settings that a log-mel spectrogram depends on; the others come after it."""


def log_mel(waveform: NDArray[np.float32], settings: Imaging) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a clip (§5).

    Parameters
    ----------
    waveform : array of shape (samples,)

    Returns
    -------
    array of shape (n_mels, frames)
        In dB, not more than `top_db` below the clip's maximum; mel bands from low to high. 0 dB is that maximum
        or, where `db_reference` is fixed, a mel power of 1.
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
    limits
        The decibels that become 0 and 1; what is beyond them is cut off. None: -80 and 0 dB where `scaling` is
        range, else the array's own minimum and maximum (and 0 throughout where it is constant).
    """
    if limits is None and settings.scaling == "range":
        limits = (-80.0, 0.0)
    low, high = limits or (decibels.min(), decibels.max())
    return ((decibels - low) / (high - low)).clip(0, 1) if high > low else np.zeros_like(decibels)


def patches(
    decibels: NDArray[np.float32], settings: Imaging, limits: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Cut a log-mel spectrogram into the patches that become pictures (§3, §5).

    Parameters
    ----------
    decibels : array of shape (n_mels, frames)
    limits
        See :func:`scaled`.

    Returns
    -------
    array of shape (patches, n_mels, patch_frames), uint8
        Entries of the colour map; the first row of a patch is its highest mel band, unless `origin` is upper.

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
    cut = windows[:, :: settings.patch_offset].transpose(1, 0, 2)
    if settings.scaling == "patch":
        cut = np.stack([scaled(patch, settings) for patch in cut])
    if settings.origin == "lower":
        cut = cut[:, ::-1]
    # As matplotlib maps: 256 equal steps, and 1.0 belongs to the last one.
    return np.ascontiguousarray(np.minimum((cut * 256).astype(np.int16), 255).astype(np.uint8))


def patch_starts(frames: int, settings: Imaging) -> NDArray[np.int64]:
    """Return the first frame of every patch in a spectrogram of `frames` frames."""
    return np.arange(0, frames - settings.patch_frames + 1, settings.patch_offset)


def seconds(frames: int, settings: Imaging) -> float:
    """Return how long `frames` hops last, in seconds."""
    return frames * settings.hop / settings.sample_rate


@cache
def colour_table(name: str) -> torch.Tensor:
    """Return the colour map `name` as a table of shape (256, 3), float32, [0, 1]."""
    return torch.tensor(matplotlib.colormaps[name](np.arange(256))[:, :3], dtype=torch.float32)


def pictures(entries: NDArray[np.uint8], settings: Imaging) -> torch.Tensor:
    """Colour patches.

    Parameters
    ----------
    entries : array of shape (n, height, width), uint8
        Patches, as :func:`patches` cuts them.

    Returns
    -------
    tensor of shape (n, 3, height, width)
        RGB in [0, 1].
    """
    colours = colour_table(settings.colormap)[torch.from_numpy(np.array(entries)).long()]
    return colours.permute(0, 3, 1, 2).contiguous()


def standardised_colours(mean: tuple[float, ...], std: tuple[float, ...], settings: Imaging) -> torch.Tensor:
    """Return the colour map as an extractor wants its colours: (256, 3), shifted by `mean` and divided by `std`.

    Interpolation averages with weights that add up to 1, so standardising the 256 colours once is the same as
    standardising every pixel of every large picture (§5).
    """
    return (colour_table(settings.colormap) - torch.tensor(mean)) / torch.tensor(std)


def upscaling(side: int, settings: Imaging) -> torch.Tensor:
    """Return the matrix that interpolates `side` pixels to `image_size`: (image_size, side), rows that add up to 1.

    Pixel centres, not corners, are aligned.
    """
    pixels = torch.eye(side)[None]
    return torch.nn.functional.interpolate(pixels, size=settings.image_size, mode="linear", align_corners=False)[0].T


def extractor_input(
    entries: torch.Tensor, colours: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
) -> torch.Tensor:
    """Colour patches and scale them up (§5).

    Bilinear interpolation works along each axis in turn, so it is two products with matrices: half the time of
    the engines' own.

    Parameters
    ----------
    entries : tensor of shape (n, height, width), uint8
        Patches, as :func:`patches` cuts them.
    colours : tensor of shape (256, 3)
        Of :func:`standardised_colours`.
    rows, columns : tensors of shape (image_size, height) and (image_size, width)
        Of :func:`upscaling`.

    Returns
    -------
    tensor of shape (n, 3, image_size, image_size)
    """
    small = torch.nn.functional.embedding(entries.long(), colours).permute(0, 3, 1, 2)
    return rows @ small @ columns.T
