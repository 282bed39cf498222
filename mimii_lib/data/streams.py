"""Sound as it happens: from raw samples, a device, or a folder that recordings arrive in; and into files.

A source yields blocks, so that nothing grows while it runs, and looks several times a second whether it is to stop.
"""

import os
import queue
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from mimii_lib import dataset
from mimii_lib.data.files import atomic_write
from mimii_lib.data.own_recordings import SUFFIXES
from mimii_lib.errors import MimiiError

FORMATS = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}
"""Formats of raw samples, by ffmpeg's names: numpy's type, and full scale."""
POLL = 0.2  # seconds after which a source that waits looks whether it is to stop
QUEUE = 30.0  # seconds of a device's sound that wait while a window is scored; more is lost
PART = 300  # seconds after which a long recording goes on in another file
_FILES = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}

Stopped = Callable[[], Any]  # true once the source is to stop


class Block(NamedTuple):
    """Sound as it came."""

    sound: NDArray[np.float32]  # (samples, channels) from a source, (samples,) of the channel that is heard
    fault: str = ""  # why windows that reach into it are not scored


def opened(
    source: str | None,
    wanted: tuple[int, int | str],
    encoding: str = "s16le",
    channels: int = 1,
    rate: int | None = None,
    seconds: float = 1.0,
    *,
    stopped: Stopped,
) -> tuple[str, Iterator[Block | Path]]:
    """Return the name of a source, and its sound or its recordings as they arrive.

    Parameters
    ----------
    source
        ``-`` for standard input, a folder, or the name of a device; None: standard input if something is piped in, or
        else the default device.
    wanted
        The rate in Hz and the channel that blocks have; a source of another `encoding` or `rate` is converted.
    seconds
        Length of a block.
    stopped
        Tells whether to stop.
    """
    target, channel = wanted
    if source and Path(source).is_dir():
        return source, arriving(Path(source), stopped)
    if source == "-" or (source is None and sys.stdin and not sys.stdin.isatty()):
        name, rate = "standard input", rate or target
        blocks = standard_input(encoding, channels, max(1, round(seconds * rate)), stopped)
    else:
        name, (rate, blocks) = source or "default device", device(source, rate, channels, seconds, stopped)
    if rate < target:
        raise MimiiError(f"{name}: its rate is {rate} Hz, and the model needs {target} Hz or more; --rate sets it")
    if isinstance(channel, int) and channel >= channels > 1:
        raise MimiiError(
            f"--channels: found {channels}, expected {channel + 1} or more, since that is what the model hears"
        )
    return name, prepared(blocks, channel, rate, target)


def standard_input(encoding: str, channels: int, samples: int, stopped: Stopped) -> Iterator[Block]:
    """Yield blocks of `samples` from raw, interleaved samples on standard input; bytes left over are dropped."""
    kind, full_scale = FORMATS[encoding]
    frame = channels * np.dtype(kind).itemsize
    descriptor, pending, first, ended = sys.stdin.fileno(), b"", True, False
    while not ended and not stopped():
        if not select.select([descriptor], [], [], POLL)[0]:
            continue
        received = os.read(descriptor, samples * frame - len(pending))
        pending, ended = pending + received, not received
        if len(pending) < samples * frame and not ended:
            continue
        if first and (name := _FILES.get(pending[:4])):
            raise MimiiError(f"standard input: a {name} file, expected raw samples; `ffmpeg -i FILE -f {encoding} -`")
        first = False
        yield _decoded(pending, frame, kind, full_scale, channels)
        pending = b""
    if pending:  # it was stopped within a block
        yield _decoded(pending, frame, kind, full_scale, channels)


def _decoded(received: bytes, frame: int, kind: str, full_scale: float, channels: int) -> Block:
    whole = received[: len(received) // frame * frame]
    return Block((np.frombuffer(whole, kind).astype(np.float32) / np.float32(full_scale)).reshape(-1, channels))


def device(
    name: str | None, rate: int | None, channels: int, seconds: float, stopped: Stopped
) -> tuple[int, Iterator[Block]]:
    """Return the rate of an input device, by default its own, and the blocks of `seconds` that it hears.

    `name` is its name, a part of it, or its number; None: the computer's default. Raises MimiiError where it, PortAudio
    or the extra ``live`` is missing.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:
        raise MimiiError(
            f"{name or 'default device'}: no such folder, and devices cannot be opened ({error}); install the extra "
            "'live' and PortAudio (apt install libportaudio2), or pipe raw samples into `mimii watch MODEL -`"
        ) from None
    number = int(name) if name and name.isdecimal() else name
    try:
        rate = rate or round(sounddevice.query_devices(number, "input")["default_samplerate"])
        sounddevice.check_input_settings(number, channels, "float32", None, rate)
    except (ValueError, sounddevice.PortAudioError) as error:
        names = ", ".join(str(one["name"]) for one in sounddevice.query_devices() if one["max_input_channels"])
        raise MimiiError(f"{name or 'default device'}: {error}; found the devices {names or '(none)'}") from None

    def blocks() -> Iterator[Block]:
        waiting: queue.Queue[Block] = queue.Queue(max(2, round(QUEUE / seconds)))
        lost = False

        def heard(sound: NDArray[np.float32], _frames: int, _time: Any, status: Any) -> None:
            nonlocal lost
            lost |= bool(status.input_overflow)
            with suppress(queue.Full):
                waiting.put_nowait(Block(sound.copy(), "sound was lost" if lost else ""))
                lost = False
                return
            lost = True

        with sounddevice.InputStream(
            rate, round(seconds * rate), number, channels, "float32", callback=heard
        ) as stream:
            while not stopped() and (stream.active or not waiting.empty()):
                with suppress(queue.Empty):
                    yield waiting.get(timeout=POLL)

    return rate, blocks()


def prepared(blocks: Iterator[Block], channel: int | str, rate: int, target: int) -> Iterator[Block]:
    """Yield one channel of blocks, resampled from `rate` to `target`; samples that are no sound become 0, a fault."""
    import soxr

    resampler = soxr.ResampleStream(rate, target, 1) if rate != target else None
    for sound, fault in blocks:
        mono = sound[:, channel if sound.shape[1] > 1 else 0] if isinstance(channel, int) else sound.mean(axis=1)
        usable = np.abs(mono) <= dataset.LOUDEST  # false where a sample is not a number
        if not usable.all():
            mono, fault = (
                np.where(usable, mono, np.float32(0)),
                f"samples that are no numbers within ±{dataset.LOUDEST:g}",
            )
        yield Block(resampler.resample_chunk(mono) if resampler else mono, fault)
    if resampler:
        yield Block(resampler.resample_chunk(np.zeros(0, np.float32), last=True))


def arriving(folder: Path, stopped: Stopped, settle: float = 2.0) -> Iterator[Path]:
    """Yield the recordings of a folder, the oldest first, and then those that arrive, until it is stopped.

    A file is complete, and yielded, once nothing is written to it for `settle` seconds; again if it changes later.
    """
    seen: dict[Path, tuple[tuple[int, ...], float]] = {}  # the size and time of writing of each file, and since when
    done: dict[Path, tuple[int, ...]] = {}
    while not stopped():
        began = time.monotonic()
        states = {
            path: dataset.state(path)[1:3]
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and path.name[0] != "."
        }
        seen = {
            path: seen[path] if path in seen and seen[path][0] == state else (state, began)
            for path, state in states.items()
        }
        done = {path: state for path, state in done.items() if path in states}
        complete = [
            path for path, (state, since) in seen.items() if began - since >= settle and done.get(path) != state
        ]
        for path in sorted(complete, key=lambda path: (states[path][1], path)):
            if stopped():
                return
            done[path] = states[path]
            yield path
        until = time.monotonic() + max(settle / 2, 10 * (time.monotonic() - began))  # listing is no load, however many
        while time.monotonic() < until and not stopped():
            time.sleep(POLL)


class Recorder:
    """Writes sound to FLAC files of 16 bits, each of which appears once it is whole.

    The files are called `name` and the number of the part. `saved` is called with the path, start and end in seconds of
    each; or with no path and the reason where one cannot be written, after which nothing more is.
    """

    def __init__(self, name: Path, rate: int, start: int, saved: Callable[..., None]):
        self._name, self._rate, self._position, self._saved = name, rate, start, saved
        self._parts, self._failed, self._open = 0, False, ExitStack()
        self._file: soundfile.SoundFile | None = None

    def write(self, sound: NDArray[np.float32]) -> None:
        """Append samples, (samples,)."""
        with self._telling_failure():
            while len(sound) and not self._failed:
                file = self._file or self._begin()
                now, sound = np.split(sound, [self._end - self._position])
                file.write((now * 32768).round().clip(-32768, 32767).astype(np.int16))
                self._position += len(now)
                if self._position == self._end:
                    self.close()

    def close(self) -> None:
        """Put the file that is being written in its place."""
        with self._telling_failure():
            if self._file:
                self._file = None
                self._open.close()
                self._saved(path=str(self._path), start=self._start / self._rate, end=self._position / self._rate)

    def _begin(self) -> soundfile.SoundFile:
        self._parts += 1
        self._path = self._name.with_name(f"{self._name.name}-part-{self._parts}.flac")
        self._start, self._end = self._position, self._position + PART * self._rate
        file = self._open.enter_context(atomic_write(self._path))
        self._file = self._open.enter_context(soundfile.SoundFile(file, "w", self._rate, 1, "PCM_16"))
        return self._file

    @contextmanager
    def _telling_failure(self) -> Iterator[None]:
        """Give up where it cannot be written, as on a full disk; what watches goes on."""
        try:
            yield
        except (MimiiError, soundfile.LibsndfileError) as error:
            self._failed, self._file = True, None
            with suppress(MimiiError, soundfile.LibsndfileError):
                self._open.__exit__(*sys.exc_info())
            self._saved(path=None, reason=str(error))


@contextmanager
def noting_signals() -> Iterator[list[str]]:
    """Yield the list to which the names of signals that ask for the end are appended, while nothing is interrupted."""
    received: list[str] = []
    numbers = [signal.SIGINT, signal.SIGTERM]
    if getattr(signal, "SIGHUP", None) and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # not under nohup
        numbers.append(signal.SIGHUP)
    handlers = {
        number: signal.signal(number, lambda number, _: received.append(signal.Signals(number).name))
        for number in numbers
    }
    try:
        yield received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
