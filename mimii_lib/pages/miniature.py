"""Sounds of the page on how the miniature is synthesised."""

from collections.abc import Mapping, Sequence

import numpy as np
from IPython.display import HTML
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mimii_lib import imaging
from mimii_lib.data.synthesis import SAMPLE_RATE, Sound
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, WIDTH, drawing, svg
from mimii_lib.pages.figures import card, draw_spectrogram, player, side_by_side
from mimii_lib.settings import Imaging

LOUDEST = 0.9  # peak of the loudest sound of a row of players


def sounds(
    parts: Mapping[str, Sound | Sequence[Sound]], *, start: float = 0.0, seconds: float = 3.0, rate: int = SAMPLE_RATE
) -> HTML:
    """Show an excerpt of each sound, by caption, as a spectrogram with a player; all are amplified by the same factor.

    Of several sounds under one caption the same excerpt is played one after the other, with a line between them.
    """
    first, last = (round(time * rate) for time in (start, start + seconds))
    groups = {caption: [part[..., first:last] for part in np.atleast_2d(part)] for caption, part in parts.items()}
    gain = LOUDEST / max(np.abs(group).max() for group in groups.values())
    return side_by_side(_card(caption, gain * np.array(group), rate) for caption, group in groups.items())


def _card(caption: str, group: NDArray[np.float64], rate: int) -> str:
    settings, sound = Imaging(sample_rate=rate), group.ravel().astype(np.float32)
    with drawing(figsize=(3.2, 1.7)) as (figure, ((axis,),)):
        drawn = draw_spectrogram(axis, imaging.log_mel(sound, settings), settings)
        drawn.set_interpolation("none")  # a pixel for each value makes the page smaller
        axis.set(xlabel="time (s)", ylabel="mel scale (kHz)")
        for border in range(1, len(group)):
            axis.axvline(border * group.shape[1] / rate, color="white", lw=2)
        image = svg(figure, f"Log-mel spectrogram of {caption}")
    return card(caption, image, player(sound, rate, caption))


def level_by_band(change: NDArray[np.float64], rest: NDArray[np.float64]) -> Figure:
    """Draw the power that a fault changes and that of the rest, by mel band, and mark where the ratio is largest."""
    loudest = int((change / rest).argmax())
    bands = np.arange(1, len(rest) + 1)
    with drawing(figsize=(WIDTH, 2.3)) as (figure, ((axis,),)):
        for power, colour, name in (
            (rest, NORMAL, "rest: machine and noise"),
            (change, ABNORMAL, "change by the fault"),
        ):
            axis.plot(bands, 10 * np.log10(power), color=colour, label=name)
        ends = [10 * np.log10(power[loudest]) for power in (rest, change)]
        axis.vlines(loudest + 1, min(ends), max(ends), color="black", lw=2)
        axis.set(xlabel="mel band, from low to high", ylabel="power (dB)")
        axis.legend()
    return figure
