"""What a monitor says of recordings."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Window(NamedTuple):
    """A window of a recording: when, how anomalous, and the p-value among windows of held-back normal recordings."""

    start: float  # in seconds from the recording's first sample
    end: float
    score: float  # anomaly score, higher is more anomalous
    p_value: float


class Band(NamedTuple):
    """A range of frequencies and how far its level is from the normal recordings'."""

    low: float  # in Hz
    high: float
    deviation: float  # of its mean decibels, in standard deviations of the normal recordings; positive is louder


@dataclass(frozen=True)
class Score:
    """What a monitor says of one recording."""

    path: str  # empty for an array
    score: float  # mean of its windows' scores
    p_value: float  # share of normal recordings that score as high, of those held back and this one
    anomalous: bool | None  # p_value <= alpha; None: above all held-back scores, and too few of them to decide
    alpha: float  # false-alarm rate
    seconds: float
    windows: tuple[Window, ...]  # one after the other
    bands: tuple[Band, ...]  # the most unusual ranges of frequency, the most unusual one first
    deviations: tuple[float, ...]  # of every mel band from low to high, as in Band
    nearest: str  # name of the normal recording whose spectrum is the nearest

    def row(self) -> dict[str, Any]:
        """Return the row of ``mimii score --json``."""
        return {
            "path": self.path,
            "score": self.score,
            "p_value": self.p_value,
            "anomalous": self.anomalous,
            "seconds": self.seconds,
            "windows": [window._asdict() for window in self.windows],
            "bands": [band._asdict() for band in self.bands],
            "nearest": self.nearest,
        }
