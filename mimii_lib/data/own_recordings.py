"""Recordings of any rate from 8 kHz and any length from 1 s: found, read, resampled, and cut into windows."""

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

from mimii_lib import dataset
from mimii_lib.data.checks import QUIETEST, level
from mimii_lib.errors import MimiiError, unknown_value

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LOWEST_RATE = 8_000  # Hz
SHORTEST = 1.0  # seconds
SLACK = 0.1  # of a window: as much may be missing, or be left over unheard
CLIPPED = 1e-4  # share of the samples that lie at the peak in a row
UNREADABLE = ("stop", "skip")  # what to do about a recording that cannot be used

Say = Callable[[str], None]  # takes a sentence for the user


def silent(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Recording:
    """A recording as a monitor hears it."""

    path: str
    samples: NDArray[np.float32]  # (samples,), at `rate`
    rate: int  # in Hz
    from_rate: int  # of the file, in Hz
    clipped: float  # share of the samples that lie at the peak in a row

    @property
    def digest(self) -> str:
        """Return the sha256 of the samples: a copy in another format without loss has the same."""
        return hashlib.sha256(self.samples.tobytes()).hexdigest()

    @property
    def seconds(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.rate


def find(places: Sequence[Path | str]) -> list[Path]:
    """Return the recordings that files and folders name; a folder's are those that lie in it, not in folders below."""
    files: dict[Path, None] = {}
    for place in map(Path, places):
        if not place.is_dir():
            files[place] = None
            continue
        inside = [path for path in sorted(place.iterdir()) if path.name[0] != "."]
        if not (audio := [path for path in inside if path.suffix.lower() in SUFFIXES and not path.is_dir()]):
            others = (
                f", only {', '.join(path.name for path in inside[:3])}{', …' * (len(inside) > 3)}" if inside else ""
            )
            raise MimiiError(
                f"{place}: holds no recordings{others}; expected files that end in {', '.join(SUFFIXES)} (ffmpeg "
                "converts others), or name the folder that holds them"
            )
        files |= dict.fromkeys(audio)
    return list(files)


def rates(files: Iterable[Path]) -> list[int]:
    """Return the sample rates of the files that have one of at least 8 kHz, in Hz, from their headers."""
    of_headers = []
    for path in files:
        with suppress(soundfile.LibsndfileError, RuntimeError, MimiiError):
            of_headers.append(int(soundfile.info(io.BytesIO(dataset.content(path))).samplerate))
    return [rate for rate in of_headers if rate >= LOWEST_RATE]


def read(path: Path, rate: int, channel: int | str) -> Recording:
    """Read a recording at `rate` in Hz; raise MimiiError where it cannot be used."""
    waveform, from_rate = dataset.decoded(path, dataset.content(path), channel, "recording (WAV, FLAC, OGG or MP3)")
    return prepare(waveform, from_rate, rate, str(path))


def from_array(samples: ArrayLike, from_rate: float, rate: int, channel: int | str) -> Recording:
    """Return samples within ±1, or of 16 bits, (samples,) or (samples, channels), as a recording at `rate`."""
    array, buffer = np.asarray(samples), io.BytesIO()
    if array.ndim not in (1, 2) or array.dtype.kind not in "fi" or not 0 < from_rate < 2**31 or from_rate % 1:
        description = f"{array.dtype} of shape {array.shape} at {from_rate} Hz"
        raise MimiiError(
            f"the array: found {description}, expected samples within ±1, (samples,) or (samples, channels)"
        )
    array = array / (2**15 if array.dtype == np.int16 else 1)
    soundfile.write(buffer, array, int(from_rate), format="WAV", subtype="FLOAT")  # held to the same as files are
    waveform, _ = dataset.decoded(Path("the array"), buffer.getvalue(), channel)
    return prepare(waveform, int(from_rate), rate)


def prepare(waveform: NDArray[np.float32], from_rate: int, rate: int, path: str = "the array") -> Recording:
    """Return a waveform, (samples,), as a recording at `rate`; raise MimiiError where it cannot be used."""
    if from_rate < rate:
        raise MimiiError(f"{path}: sample rate is {from_rate} Hz, expected at least {rate} Hz; leave it out")
    if (seconds := len(waveform) / from_rate) < SHORTEST * (1 - SLACK):
        raise MimiiError(f"{path}: {seconds:.2f} s found, expected at least {SHORTEST:g} s; leave it out")
    if level(waveform - waveform.mean()) <= QUIETEST:
        raise MimiiError(f"{path}: silent; look at the microphone and the channel, or leave it out")
    peak = np.abs(waveform) >= np.abs(waveform).max() - 2 / 2**15  # 16 bits end at -1 and at 1 - 1/2^15
    clipped = float(np.mean(peak[2:] & peak[1:-1] & peak[:-2]))
    return Recording(path, soxr.resample(waveform, from_rate, rate), rate, from_rate, clipped)


def usable(
    files: Sequence[Path],
    rate: int,
    channel: int | str,
    unreadable: str = "stop",
    say: Say = silent,
    shortest: int = 0,
) -> Iterator[Recording]:
    """Yield the recordings that can be used, at `rate`, of at least a window of `shortest` samples; equal ones once.

    Where one cannot be used this raises MimiiError, or says so where `unreadable` is skip. It also says which ones are
    clipped, and once which rates are resampled.
    """
    if unreadable not in UNREADABLE:
        raise unknown_value("unreadable", unreadable, UNREADABLE)
    if rate < LOWEST_RATE:
        raise MimiiError(f"rate: found {rate} Hz, expected at least {LOWEST_RATE} Hz")
    if channel != "mean" and not (isinstance(channel, int) and channel >= 0):
        raise MimiiError(f"channel: found {channel}, expected a number from 0, or mean")
    first: dict[str, str] = {}
    resampled = {rate}
    for path in files:
        try:
            recording = read(path, rate, channel)
            _missing(recording, shortest)
            if (same := first.setdefault(recording.digest, recording.path)) != recording.path:
                raise MimiiError(f"{path}: the same recording as {same}; leave one of them out")
        except MimiiError as error:
            if unreadable == "stop":
                raise
            say(f"skipped: {error}")
            continue
        if (from_rate := recording.from_rate) not in resampled:
            resampled.add(from_rate)
            say(f"recordings at {from_rate} Hz are resampled to {rate} Hz: nothing is heard above {rate / 2000:g} kHz")
        if recording.clipped > CLIPPED:
            say(f"{path}: clipped ({recording.clipped:.2%} of the samples); turn the microphone's gain down")
        yield recording


def _missing(recording: Recording, window: int) -> int:
    """Return how many samples a recording lacks for a window; raise MimiiError if they are more than a tenth."""
    lacking = max(0, window - len(recording.samples))
    if lacking > SLACK * window:
        raise MimiiError(
            f"{recording.path}: {recording.seconds:.2f} s found, the model hears {window / recording.rate:.2f} s at a "
            "time; leave it out, or fit with a shorter --window"
        )
    return lacking


def cut(recording: Recording, window: int, most: int | None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Cut a recording into windows of `window` samples, one after the other: (n, window), and where each begins (n,).

    The last one ends with the recording, and those before begin at equal distances; `most` is their highest number. Up
    to a tenth of a window more than whole windows is left out; as much less is filled with the mirror image of the end.
    """
    samples = np.pad(recording.samples, (0, _missing(recording, window)), mode="reflect")
    n = max(1, int(np.ceil(len(samples) / window - SLACK)))
    starts = np.linspace(0, len(samples) - window if n > 1 else 0, min(n, most or n)).astype(np.int64)
    return np.stack([samples[start : start + window] for start in starts]), starts
