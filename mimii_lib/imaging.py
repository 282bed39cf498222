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


def log_mel(waveform: NDArray[np.float32], settings: Imaging) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a clip (§5).

    Parameters
    ----------
    waveform : array of shape (samples,)

    Returns
    -------
    array of shape (n_mels, frames)
        In dB below the clip's maximum, from -`top_db` to 0; mel bands from low to high.
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
    return librosa.power_to_db(power, ref=np.max, top_db=settings.top_db).astype(np.float32)


def scaled(decibels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a clip's spectrogram scaled to [0, 1] between its own minimum and maximum; a constant one is 0."""
    low, high = decibels.min(), decibels.max()
    return (decibels - low) / (high - low) if high > low else np.zeros_like(decibels)


def patches(decibels: NDArray[np.float32], settings: Imaging) -> NDArray[np.uint8]:
    """Cut a log-mel spectrogram into the patches that become pictures (§3, §5).

    Parameters
    ----------
    decibels : array of shape (n_mels, frames)

    Returns
    -------
    array of shape (patches, n_mels, patch_frames), uint8
        Entries of the colour map; the first row of a patch is its highest mel band.

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
    # As matplotlib maps: 256 equal steps, and 1.0 belongs to the last one.
    entries = np.minimum((scaled(decibels) * 256).astype(np.int16), 255).astype(np.uint8)[::-1]
    windows = np.lib.stride_tricks.sliding_window_view(entries, settings.patch_frames, axis=1)
    return np.ascontiguousarray(windows[:, :: settings.patch_offset].transpose(1, 0, 2))


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


def extractor_input(
    rgb: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...], settings: Imaging
) -> torch.Tensor:
    """Scale pictures up and standardise them as the extractor's training images were (§5).

    Parameters
    ----------
    rgb : tensor of shape (n, 3, height, width)
        Pictures in [0, 1].
    mean, std
        Per colour, of the images the extractor was trained on.

    Returns
    -------
    tensor of shape (n, 3, image_size, image_size)
    """
    size = (settings.image_size, settings.image_size)
    large = torch.nn.functional.interpolate(rgb, size=size, mode="bilinear", align_corners=False)
    return (large - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
