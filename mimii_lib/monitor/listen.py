"""The command ``mimii watch``: raw samples on standard input, a device, or a folder that recordings arrive in.

A source yields blocks of a hop, so that nothing grows while it runs, and looks several times a second whether it is to
stop.
"""

import json
import os
import queue
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mimii_lib import dataset
from mimii_lib.errors import MimiiError
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.recordings import SUFFIXES
from mimii_lib.monitor.watch import Rule, Watch

FORMATS = {"s16le": ("<i2", 32768.0), "f32le": ("<f4", 1.0)}
"""Formats of raw samples, by ffmpeg's names: numpy's type, and full scale."""
ALPHA = 0.01  # false-alarm rate of a window, unless another one is named or it cannot be decided
POLL = 0.2  # seconds after which a source that waits looks whether it is to stop
QUEUE = 30.0  # seconds of a device's sound that wait while a window is scored; more is lost
_FILES = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG", b"ID3\x03": "MP3", b"ID3\x04": "MP3"}

Stopped = Callable[[], Any]  # true once the source is to stop


class Block(NamedTuple):
    """Sound as it came."""

    sound: NDArray[np.float32]  # (samples, channels) from a source, (samples,) of the channel that is heard
    fault: str = ""  # why windows that reach into it are not scored


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


@contextmanager
def _signals() -> Iterator[list[str]]:
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


def watch_command(
    model: Path,
    source: str | None = None,
    rate: int | None = None,
    encoding: str = "s16le",
    channels: int = 1,
    hop: float = 1.0,
    alarm: str = "3/5",
    alpha: float | None = None,
    events: Path | None = None,
    before: float = 10.0,
    after: float = 10.0,
    quiet: bool = False,
) -> int:
    """Watch a source until it ends, or a signal asks for the end; return 1 if an alarm was raised."""
    rule, monitor = Rule.parse(alarm), Monitor.load(model)
    lowest = monitor.smallest_p_value
    alpha = max(ALPHA, lowest) if alpha is None else alpha
    for name, value, least, most in (
        ("alpha", alpha, lowest, 0.5),  # the lowest p-value is that of a score above all of the calibration
        ("hop", hop, 0.01, monitor.window / monitor.rate),
        ("before", before, 0, 600),
        ("after", after, 0, 600),
        ("channels", channels, 1, 64),
        ("rate", rate or monitor.rate, monitor.rate, 384_000),
    ):
        if not least <= value <= most:
            raise MimiiError(f"--{name}: found {value:g}, expected {least:.3g} to {most:.6g} for this model")

    def tell(line: dict[str, Any]) -> None:
        if line["kind"] != "window" or not quiet:
            print(json.dumps(line), flush=True)

    watch = Watch(monitor, tell, alpha=alpha, hop=hop, rule=rule, events=events, before=before, after=after)
    with _signals() as received:
        name, heard = _source(source, monitor, encoding, channels, rate, hop, lambda: received)
        seconds, how = monitor.window / monitor.rate, {"rule": alarm, "alpha": alpha, "lowest_p_value": lowest}
        watch.tell("start", model=str(model), source=name, rate=monitor.rate, window=seconds, hop=hop, **how)
        reason = "error"
        try:
            for sound in heard:
                began = time.monotonic()
                if isinstance(sound, Path):
                    watch.hear_recording(sound)
                else:
                    watch.hear(*sound)
                    watch.worked(time.monotonic() - began, len(sound.sound) / monitor.rate)
            reason = received[0] if received else "end of the sound"
        finally:
            watch.close(reason)
    if not watch.windows and not received:
        raise MimiiError(
            f"{name}: ended after {watch.position / monitor.rate:.1f} s without a window that can be scored; "
            f"expected {seconds:g} s of sound or more"
        )
    return int(watch.alarms > 0)


def _source(
    source: str | None, monitor: Monitor, encoding: str, channels: int, rate: int | None, hop: float, stopped: Stopped
) -> tuple[str, Iterator[Block | Path]]:
    """Return the name of a source, and its sound or its recordings as they arrive."""
    if source and Path(source).is_dir():
        return source, arriving(Path(source), stopped)
    if source == "-" or (source is None and sys.stdin and not sys.stdin.isatty()):
        name, rate = "standard input", rate or monitor.rate
        blocks = standard_input(encoding, channels, round(hop * rate), stopped)
    else:
        name, (rate, blocks) = source or "default device", device(source, rate, channels, hop, stopped)
    if rate < monitor.rate:
        raise MimiiError(
            f"{name}: its rate is {rate} Hz, and the model needs {monitor.rate} Hz or more; --rate sets it"
        )
    if isinstance(monitor.channel, int) and monitor.channel >= channels > 1:
        raise MimiiError(f"--channels: found {channels}, expected {monitor.channel + 1} or more for this model")
    return name, prepared(blocks, monitor.channel, rate, monitor.rate)
