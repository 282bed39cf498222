"""``mimii watch``: score a stream of sound window by window, and tell what happens as it happens.

A window is scored every hop, and anomalous if its conformal p-value is at most alpha. While N of the last M windows are
anomalous, the *rule* holds: an *event* begins with an alarm, and ends when the rule has not held for the seconds of
sound that are kept after it. What is told is a mapping with its ``kind``, the ``time`` of day, and the position in the
stream that is reached (``at``, in seconds, as all positions):

=========  =============================================================================================================
start      the model, what it watches, and how
window     score and p-value of a window (of a folder: of a recording), and whether it is anomalous
alarm      an event has begun: the first anomalous window of the rule
saved      a file with sound of an event, of which a long one has several; or the reason why it cannot be written
event      an event has ended: from where to where, the highest score, the lowest p-value
drift      begins, ends: windows without an event score higher than the held-back recordings, though no alarm is raised
behind     begins, ends: scoring takes longer than the sound lasts
gap        begins, ends: the sound cannot be scored, with the reason
end        the reason, and how much was scored
=========  =============================================================================================================
"""

import json
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from mimii_lib.data import streams
from mimii_lib.data.checks import QUIETEST, level
from mimii_lib.errors import MimiiError
from mimii_lib.monitor.model import ALPHA, Monitor

BEHIND = 5.0  # seconds of sound that wait to be scored, from which it is told
DRIFT_WINDOWS = (30, 60)  # fewest and most that are compared with the calibration; they do not overlap
DRIFT_BEGINS, DRIFT_ENDS = 0.001, 0.05  # p-values of that comparison

Sound = NDArray[np.float32]


class Rule(NamedTuple):
    """An alarm is raised where so many are anomalous of so many windows in a row."""

    needed: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the rule that a text such as ``3/5`` means."""
        number = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", text)
        if not number or int(number[1]) > int(number[2]):
            raise MimiiError(f"--alarm: found {text!r}, expected N/M such as 3/5: N anomalous windows of the last M")
        return cls(int(number[1]), int(number[2]))


RULE = Rule(3, 5)


@dataclass
class Event:
    """Windows from the first anomalous one of the rule until it no longer holds."""

    number: int
    first: dict[str, Any]  # window
    last: dict[str, Any]  # window at which the rule held last
    held: int = 0  # position after that window
    score: float = -np.inf  # the highest
    p_value: float = 1.0  # the lowest
    recorder: streams.Recorder | None = None

    def count(self, window: dict[str, Any]) -> None:
        """Take a window into account."""
        self.score, self.p_value = max(self.score, window["score"]), min(self.p_value, window["p_value"])

    def facts(self) -> dict[str, Any]:
        """Return what is told at its end."""
        place = {"start": self.first["start"], "end": self.last["end"]} if "end" in self.last else {}
        place = place or {"first": self.first["path"], "last": self.last["path"]}
        return {"event": self.number, **place, "score": self.score, "p_value": self.p_value}


class Watch:
    """What a monitor says of a stream, or of recordings one after the other.

    Parameters
    ----------
    tell
        Takes what is told.
    alpha
        The p-value from which down a window is anomalous.
    hop
        Seconds from the start of a window to the start of the next.
    events
        Folder for the sound of events; None: no sound is kept.
    before, after
        Seconds of sound that are kept before the first anomalous window and after the rule has ceased to hold.
    """

    def __init__(
        self,
        monitor: Monitor,
        tell: Callable[[dict[str, Any]], Any],
        *,
        alpha: float,
        hop: float = 1.0,
        rule: Rule = RULE,
        events: Path | None = None,
        before: float = 10.0,
        after: float = 10.0,
    ):
        self.monitor, self.alpha, self.rule, self.events = monitor, alpha, rule, events
        self.position = self.windows = self.alarms = 0  # samples heard, windows scored, alarms raised
        self._tell, self._name = tell, f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self._hop, self._before, self._after = (round(seconds * monitor.rate) for seconds in (hop, before, after))
        self._sound, self._due = np.zeros(0, np.float32), monitor.window
        self._most = monitor.window + rule.of * self._hop + self._before
        self._recent: deque[dict[str, Any]] = deque(maxlen=rule.of)
        self._event: Event | None = None
        self._quiet: deque[float] = deque(maxlen=DRIFT_WINDOWS[1])  # scores without an event
        self._quiet_due = self._backlog = 0.0
        self._states: dict[str, bool] = {}

    def hear(self, sound: Sound, fault: str = "") -> None:
        """Take the next samples, (samples,); where they have a fault, windows that reach into them are not scored."""
        while len(sound):
            piece, sound = np.split(sound, [self._due - self.position])
            self._sound = np.concatenate([self._sound, piece])[-self._most :]
            self.position += len(piece)
            if self._event and self._event.recorder:
                self._event.recorder.write(piece)
            if fault:
                self._interrupt(fault)
                self._due = self.position + self.monitor.window
            elif self.position == self._due:
                self._score(self._due - self.monitor.window, self._due)
                self._due += self._hop
            else:
                continue
            self._end_event()

    def hear_recording(self, path: Path) -> None:
        """Score a recording, which counts as a window; tell why if it cannot be scored."""
        try:
            score = self.monitor.score(path)
        except MimiiError as error:
            self.tell("gap", state="begins", reason=str(error))
            self._states["gap"] = True
            return
        self._set("gap", False)
        self.position += round(score.seconds * self.monitor.rate)
        self._judge({"path": str(path)}, score.score, score.p_value)
        self._compare(score.score, self.monitor.calibration.recordings)
        self._end_event()

    def worked(self, seconds: float, sound: float) -> None:
        """Take how many seconds the work for so many seconds of sound took; tell where it falls behind."""
        self._backlog = max(0.0, self._backlog + seconds - sound)
        behind = self._backlog >= (0.001 if self._states.get("behind") else BEHIND)
        self._set("behind", behind, seconds=round(self._backlog, 1))

    def tell(self, kind: str, **facts: Any) -> None:
        """Tell something, with the time."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        self._tell({"kind": kind, "time": now, "at": self.position / self.monitor.rate, **facts})

    def close(self, reason: str) -> None:
        """End the event if there is one, keep its sound, and tell the end."""
        self._end_event(at_once=True)
        self.tell("end", reason=reason, windows=self.windows, alarms=self.alarms)

    def _score(self, start: int, end: int) -> None:
        samples = self._between(start, end)
        if level(samples - samples.mean()) <= QUIETEST:
            self._interrupt("silence; see whether the microphone is connected")
            return
        self._set("gap", False)
        score = self.monitor.window_scores(samples[None])
        p_value = float(self.monitor.calibration.p_values(score, of_windows=True)[0])
        self._judge({"start": start / self.monitor.rate, "end": end / self.monitor.rate}, float(score[0]), p_value)
        if start >= self._quiet_due:  # windows that overlap would count the same sound more than once
            self._quiet_due = end
            self._compare(float(score[0]), self.monitor.calibration.windows)

    def _between(self, start: int, end: int) -> Sound:
        """Return the samples from one position to another, as far as they are kept."""
        first = self.position - len(self._sound)
        return self._sound[max(0, start - first) : end - first]

    def _interrupt(self, reason: str) -> None:
        self._recent.clear()
        self._set("gap", True, reason=reason)

    def _holds(self) -> bool:
        return sum(window["anomalous"] for window in self._recent) >= self.rule.needed

    def _judge(self, place: dict[str, Any], score: float, p_value: float) -> None:
        """Tell a window, and begin or continue an event where the rule holds."""
        window = place | {"score": score, "p_value": p_value, "anomalous": p_value <= self.alpha}
        self.windows += 1
        self._recent.append(window)
        self.tell("window", **window)
        if self._event:
            self._event.count(window)
        elif self._holds():
            self._begin_event()
        if self._event and self._holds():
            self._event.last, self._event.held = window, self.position

    def _begin_event(self) -> None:
        self.alarms += 1
        windows = list(self._recent)
        while not windows[0]["anomalous"]:
            del windows[0]
        first = windows[0]
        self._event = Event(self.alarms, first, windows[-1])
        for window in windows:
            self._event.count(window)
        self.tell("alarm", event=self.alarms, **first)
        if self.events and "start" in first:
            start = max(round(first["start"] * self.monitor.rate) - self._before, self.position - len(self._sound))
            name = self.events / f"{self._name}-event-{self.alarms}"
            self._event.recorder = streams.Recorder(name, self.monitor.rate, start, partial(self.tell, "saved"))
            self._event.recorder.write(self._between(start, self.position))

    def _end_event(self, at_once: bool = False) -> None:
        event = self._event
        if event and (at_once or (not self._holds() and self.position >= event.held + self._after)):
            if event.recorder:
                event.recorder.close()
            self._event = None
            self.tell("event", **event.facts())

    def _compare(self, score: float, calibration: NDArray[np.float64]) -> None:
        """Compare the recent scores without an event with the calibration's; both are samples, and may be small."""
        if self._event:
            return
        self._quiet.append(score)
        if len(self._quiet) >= DRIFT_WINDOWS[0]:
            from scipy.stats import mannwhitneyu

            p_value = float(mannwhitneyu(self._quiet, calibration, alternative="greater").pvalue)
            drifts = p_value < (DRIFT_ENDS if self._states.get("drift") else DRIFT_BEGINS)
            self._set("drift", drifts, p_value=p_value, windows=len(self._quiet))

    def _set(self, kind: str, holds: bool, **facts: Any) -> None:
        """Tell the beginning and the end of a state."""
        if holds != self._states.get(kind, False):
            self._states[kind] = holds
            self.tell(kind, state="begins" if holds else "ends", **facts)


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
    lowest = monitor.calibration.smallest
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

    monitor.window_scores(np.random.default_rng(0).normal(0, 0.01, (1, monitor.window)).astype(np.float32))  # warm
    watch = Watch(monitor, tell, alpha=alpha, hop=hop, rule=rule, events=events, before=before, after=after)
    with streams.noting_signals() as received:
        name, heard = streams.opened(
            source, (monitor.rate, monitor.channel), encoding, channels, rate, hop, stopped=lambda: received
        )
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
