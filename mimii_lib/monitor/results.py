"""What a monitor says of recordings."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from mimii_lib.systems.spectra import Band

if TYPE_CHECKING:
    from mimii_lib.uncertainty import Interval


class Window(NamedTuple):
    """A window of a recording: when, how anomalous, and the p-value among windows of normal recordings."""

    start: float  # in seconds from the recording's first sample
    end: float
    score: float  # anomaly score, higher is more anomalous
    p_value: float


@dataclass(frozen=True)
class Score:
    """What a monitor says of one recording."""

    path: str  # “the array” where it is none
    score: float  # mean of its windows' scores
    p_value: float  # share of recordings that score as high, of the normal ones held back and this one
    anomalous: bool | None  # p_value <= alpha; None: above all held-back scores, which are too few to decide
    alpha: float  # false-alarm rate
    seconds: float
    windows: tuple[Window, ...]  # one after the other
    bands: tuple[Band, ...]  # the most unusual ranges of frequency, the most unusual one first
    moment: tuple[float, float]  # start and end in seconds of the stretch that differs most from normal
    deviations: tuple[float, ...]  # of every mel band from low to high, as in Band
    nearest: str  # name of the normal recording whose spectrum is the nearest

    @property
    def verdict(self) -> str:
        """Return normal, anomalous or undecided."""
        return "undecided" if self.anomalous is None else "anomalous" if self.anomalous else "normal"

    def row(self) -> dict[str, Any]:
        """Return the row of ``mimii score --json``."""
        rows = {name: [one._asdict() for one in getattr(self, name)] for name in ("windows", "bands")}
        return asdict(self) | rows


@dataclass(frozen=True)
class Check:
    """Whether a monitor works on recordings that it has not seen; intervals are of 95 %."""

    verdict: str  # works, does not work, cannot be told
    reasons: tuple[str, ...]  # sentences
    warnings: tuple[str, ...]  # how the normal recordings differ from those that the model was fitted on
    alpha: float
    n_normal: int
    n_abnormal: int
    false_alarms: "Interval"  # share of the normal recordings that are anomalous at alpha
    detections: "Interval | None"  # share of the abnormal recordings that are
    auc: "Interval | None"
    scores: tuple[Score, ...]  # of the normal, then of the abnormal recordings
