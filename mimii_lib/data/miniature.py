"""The miniature: a stand-in for MIMII that a laptop makes in seconds.

The same tree, names, rate, length and classes as MIMII; four machine types with four models each. A fan is
blade-pass harmonics in turbulent air, a pump is a pulsating flow, a slider is a carriage that runs to and
fro on a rail, a valve is the clicks of a solenoid. Each model has a fault of its own, at a severity drawn
anew for every abnormal clip, and factory noise is mixed in at the signal-to-noise ratio asked for.

The severities were set once with the simplest baseline (``benchmarks/miniature_severity.py``) and stay as
they are. The miniature shows that the machinery works; it says nothing about MIMII.

Conventions: time in seconds, frequency in Hz, sounds as float64 arrays of shape (160000,), full scale at 1.
The random generators of a clip are seeded by its name, so that no clip depends on which others are made.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass
from itertools import product
from math import ceil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy import fft, signal
from tqdm import tqdm

from mimii_lib import paper
from mimii_lib.data.files import atomic_write
from mimii_lib.dataset import LABELS, MARKER
from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.settings import Imaging

Sound = NDArray[np.float64]

CLAIM = f"{MARKER}.part"
"""The marker's name until every clip is there: it tells a half-made tree from recordings."""
SAMPLE_RATE = Imaging.sample_rate
SECONDS = Imaging.seconds
SAMPLES = SAMPLE_RATE * SECONDS
MACHINE_RMS = 0.005
"""Level of the machine: what is left of MIMII's clips without the noise that their SNR states."""
PEAK = 0.98
"""A clip that would come closer to full scale is turned down as a whole."""

_TIME = np.arange(SAMPLES) / SAMPLE_RATE
_FREQUENCY = fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE)
_OCTAVES = np.log2(np.maximum(_FREQUENCY, 40) / 1000)  # from 1 kHz; level below 40 Hz, or a tilt runs away at 0


def _rms(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def _tilt(slope: float) -> Sound:
    """Return a magnitude spectrum that falls by `slope` dB per octave and is 1 at 1 kHz."""
    return np.exp2(_OCTAVES * (-slope / 6.02))


def _noise(rng: Generator, magnitude: Sound) -> Sound:
    """Return Gaussian noise with this magnitude spectrum, at an RMS of 1."""
    spectrum = rng.standard_normal(2 * _FREQUENCY.size).view(np.complex128)
    sound = fft.irfft(spectrum * magnitude, SAMPLES)
    return sound / _rms(sound)


def _wander(rng: Generator, knots: int) -> Sound:
    """Return a random walk about 0: `knots` normal deviates, joined by straight lines."""
    return np.interp(_TIME, np.linspace(0, SECONDS, knots), rng.standard_normal(knots))


def _turns(rng: Generator, frequency: Sound | float) -> Sound:
    """Count the turns of something that turns at `frequency`, from a random start."""
    return rng.random() + np.cumsum(np.broadcast_to(frequency, SAMPLES)) / SAMPLE_RATE


def _harmonics(turns: Sound, amplitudes: ArrayLike) -> Sound:
    """Sum a_k sin(2πk turns) over k = 1, 2, …, by Horner's rule: one exponential serves all of them."""
    circle = np.exp(2j * np.pi * turns)
    total = np.zeros_like(circle)
    for amplitude in np.asarray(amplitudes)[::-1]:
        total += amplitude
        total *= circle
    return total.imag


def _strikes(times: Sound, strengths: ArrayLike) -> Sound:
    """Return impulses at these times; those outside the clip are dropped."""
    at = np.round(times * SAMPLE_RATE).astype(int)
    inside = (at >= 0) & (at < SAMPLES)
    weights = np.broadcast_to(strengths, at.shape)[inside]
    return np.bincount(at[inside], weights, SAMPLES).astype(np.float64)


def _sprinkle(rng: Generator, per_second: float) -> Sound:
    """Return impulses at random times, most of them weak and a few strong."""
    times = rng.uniform(0, SECONDS, rng.poisson(per_second * SECONDS))
    return _strikes(times, rng.lognormal(-0.5, 1.0, times.size))


def _passes(turns: Sound) -> Sound:
    """Return the times at which a full turn is completed."""
    return np.flatnonzero(np.diff(np.floor(turns))) / SAMPLE_RATE


def _ring(strikes: Sound, modes: Iterable[tuple[float, float]]) -> Sound:
    """Let struck metal ring: each mode (frequency in Hz, decay in ms) sounds from every strike."""
    sound = np.zeros(SAMPLES)
    for frequency, decay in modes:
        angle, radius = 2 * np.pi * frequency / SAMPLE_RATE, np.exp(-1000 / (decay * SAMPLE_RATE))
        sound += signal.lfilter([np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], strikes)
    return sound


@dataclass(frozen=True)
class Fan:
    """Blades that chop the air: harmonics of blades × shaft speed, in turbulence."""

    kinds: ClassVar = ("unbalance", "voltage change", "clogging", "rubbing")

    shaft: float  # revolutions per second
    blades: int
    rolloff: float  # each blade-pass harmonic against the one before
    air: float  # RMS of the turbulence
    slope: float  # of the turbulence, dB per octave

    def sound(self, rng: Generator, wear: Mapping[str, float]) -> Sound:
        """Sound the fan alone, at any level, with each kind of fault as far as `wear` says."""
        load, pace = rng.normal(1, [0.08, 0.008])
        pace *= 1 - 0.15 * wear["voltage change"] + 0.04 * wear["clogging"]
        shaft = _turns(rng, self.shaft * pace * (1 + 0.002 * _wander(rng, 20)))
        wobble = 1 + 0.6 * wear["unbalance"] * np.sin(2 * np.pi * shaft)
        blades = load * _harmonics(self.blades * shaft, self.rolloff ** np.arange(8))
        mount = _harmonics(shaft, (0.05 + 1.2 * wear["unbalance"]) * 0.92 ** np.arange(30))
        motor = _harmonics(_turns(rng, 100), (0.05 + 1.2 * wear["voltage change"]) * 0.9 ** np.arange(32))
        # A clogged fan stirs more air than it moves: the flow stalls and surges, at low frequency.
        surge = (1 + 2 * wear["clogging"]) * np.exp(0.8 * wear["clogging"] * _wander(rng, 40))
        air = self.air * surge * _noise(rng, _tilt(self.slope + 3 * wear["clogging"]))
        touches = _passes(shaft)
        rub = _ring(_strikes(touches, rng.lognormal(0, 0.4, touches.size)), [(2600, 4), (4300, 2)])
        return wobble * (blades + air) + mount + motor + 9 * wear["rubbing"] * rub


@dataclass(frozen=True)
class Pump:
    """Liquid pushed in pulses: harmonics of the pulse rate, a flow that swells with them, gears, bubbles."""

    kinds: ClassVar = ("leakage", "contamination", "clogging")

    pulse: float  # pulses per second
    rolloff: float  # each harmonic of the pulse against the one before
    whine: float  # of the gears, Hz
    flow: float  # RMS of the flow
    slope: float  # of the flow, dB per octave
    bubbles: float  # per second

    def sound(self, rng: Generator, wear: Mapping[str, float]) -> Sound:
        """Sound the pump alone, at any level, with each kind of fault as far as `wear` says."""
        load, pace = rng.normal(1, [0.08, 0.008])
        pace = pace * (1 - 0.06 * wear["clogging"]) * (1 + 0.003 * _wander(rng, 15))
        pulse = _turns(rng, self.pulse * pace)
        push = np.sin(2 * np.pi * pulse)
        beat = load * (1 - 0.5 * wear["leakage"]) * _harmonics(pulse, self.rolloff ** np.arange(12))
        gears = 1 + 0.2 * _wander(rng, 30) + wear["contamination"] * _wander(rng, 400)
        whine = gears * _harmonics(_turns(rng, self.whine * pace), [0.5, 0.15])
        swell = (1 - 0.4 * wear["clogging"]) * (1 + (0.5 + 0.5 * wear["clogging"]) * push)
        flow = self.flow * swell * _noise(rng, _tilt(self.slope))
        hiss = 4 * wear["leakage"] * _noise(rng, _tilt(-2))
        bubbles = _sprinkle(rng, self.bubbles * (1 + 3 * wear["leakage"]))
        # Vapour collapses wherever a clogged inlet starves the pump; grit goes through it at any time.
        cavities = np.maximum(push, 0) * _sprinkle(rng, 60 * wear["clogging"])
        grains = _sprinkle(rng, 40 * wear["contamination"])
        knocks = _ring(bubbles, [(1500, 6), (2300, 3)]) + _ring(2 * cavities + 4 * grains, [(3800, 2)])
        return beat + whine + flow + hiss + 0.8 * knocks


@dataclass(frozen=True)
class Slider:
    """A carriage on a rail: strokes with ramps and rests, a drive that whines with its speed, friction."""

    kinds: ClassVar = ("rail damage", "loose belt", "no grease")

    period: float  # of a stroke and its rest, seconds
    duty: float  # the part of the period that moves
    ramp: float  # the part of the period until full speed is reached
    group: int  # of every so many strokes one is left out
    whine: float  # of the drive at full speed, Hz
    friction: float  # RMS of the friction at full speed, against the drive
    slope: float  # of the friction, dB per octave

    def sound(self, rng: Generator, wear: Mapping[str, float]) -> Sound:
        """Sound the slider alone, at any level, with each kind of fault as far as `wear` says."""
        load, pace = rng.normal(1, [0.1, 0.02])
        pace = pace * (1 + 0.02 * (1 + 4 * wear["loose belt"]) * _wander(rng, 12))
        strokes = _turns(rng, pace / self.period)
        place = strokes % 1
        speed = np.clip(np.minimum(place, self.duty - place) / self.ramp, 0, 1)
        speed *= (np.floor(strokes) + rng.integers(self.group)) % self.group > 0
        judder = 1 + 0.12 * wear["loose belt"] * np.sin(2 * np.pi * _turns(rng, 11))
        drive = speed * _harmonics(_turns(rng, self.whine * speed * judder), [1, 0.5, 0.3, 0.2])
        # The dent is passed at the same place of every stroke: the carriage scrapes and knocks there.
        dent = 0.6 * self.duty
        rough = 1 + 3 * wear["no grease"] + 9 * wear["rail damage"] * np.exp(-(((place - dent) / 0.06) ** 2))
        scrape = load * rough * speed * _noise(rng, _tilt(self.slope * (1 - 0.6 * wear["no grease"])))
        # Dry metal sticks and slips: it squeals in bursts while the carriage moves.
        squeal = np.exp(_wander(rng, 150)) * _harmonics(_turns(rng, 2900 * (0.9 + 0.1 * speed)), [1, 0.4])
        scrape += 0.6 * wear["no grease"] * speed * squeal
        knocks = 5 * wear["rail damage"] * speed * _strikes(_passes(strokes - dent), 1)
        ends = np.flatnonzero(np.diff(speed > 0)) / SAMPLE_RATE
        slaps = (0.3 + 2 * wear["loose belt"]) * _strikes(ends, rng.lognormal(0, 0.3, ends.size))
        hits = _ring(slaps, [(320, 20), (700, 10)]) + _ring(knocks, [(1400, 12), (3100, 6)])
        return drive + self.friction * scrape + hits


@dataclass(frozen=True)
class Valve:
    """A solenoid: a hard click as it opens with a breath of air, a softer one as it closes."""

    kinds: ClassVar = ("contamination", "leakage", "voltage change")

    period: float  # of one opening and closing, seconds
    hold: float  # the part of the period that it stays open
    run: int  # cycles in a row
    rest: int  # cycles left out after them
    close: float  # the closing click against the opening one
    body: tuple[tuple[float, float], ...]  # its modes: frequency in Hz, decay in ms

    def sound(self, rng: Generator, wear: Mapping[str, float]) -> Sound:
        """Sound the valve alone, at any level, with each kind of fault as far as `wear` says."""
        dirt, weak = wear["contamination"], wear["voltage change"]
        period = self.period * rng.normal(1, 0.01)
        cycles = np.arange(-1, SECONDS / period)
        cycles = cycles[(cycles + rng.integers(self.run + self.rest)) % (self.run + self.rest) < self.run]
        delay = rng.exponential(0.002 + 0.25 * dirt, (2, cycles.size))
        force = rng.lognormal(0, 0.12 + 0.8 * dirt, (2, cycles.size))
        opens = period * (cycles + rng.random()) + delay[0]
        closes = opens + period * self.hold + delay[1]
        opening = _strikes(opens, (1 - 0.5 * weak) * force[0])
        bounce = _strikes(opens + 0.018, 0.7 * dirt * force[0])
        # Too weak to hold the plunger, the coil lets it chatter at twice the mains frequency.
        chatter = (opens[:, None] + np.arange(0.01, period * self.hold, 0.01)).ravel()
        chatter = _strikes(chatter, 0.15 * weak * rng.lognormal(0, 0.5, chatter.size))
        clicks = opening + bounce + chatter + _strikes(closes, self.close * force[1])
        # Dirt on the seat softens the blow: the higher a mode, the sooner it dies away.
        body = [(frequency, decay / (1 + dirt * frequency / 2000)) for frequency, decay in self.body]
        breath = 0.02 * signal.lfilter([1], [1, -np.exp(-1 / (0.03 * SAMPLE_RATE))], opening)
        leak = 0.06 * wear["leakage"] * (1 + 0.3 * _wander(rng, 60))
        return _ring(clicks, body) + (breath + leak) * _noise(rng, _tilt(-1))


MODELS: dict[str, dict[str, Fan | Pump | Slider | Valve]] = {
    "fan": {
        "id_00": Fan(shaft=24, blades=7, rolloff=0.75, air=1.2, slope=5),
        "id_02": Fan(shaft=31, blades=5, rolloff=0.6, air=0.9, slope=4),
        "id_04": Fan(shaft=19, blades=9, rolloff=0.7, air=1.5, slope=6),
        "id_06": Fan(shaft=43, blades=6, rolloff=0.55, air=1.0, slope=3),
    },
    "pump": {
        "id_00": Pump(pulse=29, rolloff=0.85, whine=870, flow=1.2, slope=4, bubbles=12),
        "id_02": Pump(pulse=47, rolloff=0.8, whine=620, flow=0.9, slope=5, bubbles=4),
        "id_04": Pump(pulse=58, rolloff=0.7, whine=1450, flow=0.7, slope=3, bubbles=1),
        "id_06": Pump(pulse=36, rolloff=0.75, whine=430, flow=1.0, slope=6, bubbles=2),
    },
    "slider": {
        "id_00": Slider(period=0.62, duty=0.85, ramp=0.03, group=5, whine=210, friction=0.75, slope=4),
        "id_02": Slider(period=0.95, duty=0.90, ramp=0.05, group=4, whine=340, friction=0.45, slope=3),
        "id_04": Slider(period=1.25, duty=0.45, ramp=0.12, group=9, whine=2400, friction=1.0, slope=2),
        "id_06": Slider(period=1.05, duty=0.35, ramp=0.16, group=12, whine=160, friction=1.6, slope=1),
    },
    "valve": {
        "id_00": Valve(period=1.08, hold=0.50, run=9, rest=1, close=0.25, body=((2300, 1.5), (6200, 3.0))),
        "id_02": Valve(period=1.12, hold=0.45, run=4, rest=3, close=0.15, body=((1100, 2.0), (5400, 2.0))),
        "id_04": Valve(period=0.98, hold=0.30, run=6, rest=2, close=0.40, body=((700, 3.0), (5600, 2.0))),
        "id_06": Valve(period=0.74, hold=0.50, run=5, rest=1, close=0.60, body=((2000, 2.0), (4000, 3.0))),
    },
}
"""How each machine ID sounds when nothing is wrong with it."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one machine ID: each kind's share, and the range of severities (1: ruined)."""

    shares: Mapping[str, float]
    severity: tuple[float, float]


FAULTS = {
    "fan": {
        "id_00": Fault({"rubbing": 1, "unbalance": 0.5}, (0.5, 1.0)),
        "id_02": Fault({"clogging": 1}, (0.5, 1.0)),
        "id_04": Fault({"voltage change": 1}, (0.7, 1.0)),
        "id_06": Fault({"unbalance": 1}, (0.3, 0.7)),
    },
    "pump": {
        "id_00": Fault({"leakage": 1}, (0.3, 0.8)),
        "id_02": Fault({"contamination": 1}, (0.05, 0.25)),
        "id_04": Fault({"clogging": 1}, (0.1, 0.35)),
        "id_06": Fault({"contamination": 1, "clogging": 0.5}, (0.5, 1.0)),
    },
    "slider": {
        "id_00": Fault({"no grease": 1}, (0.1, 0.25)),
        "id_02": Fault({"loose belt": 1}, (0.1, 0.3)),
        "id_04": Fault({"rail damage": 1}, (0.7, 1.0)),
        "id_06": Fault({"loose belt": 1, "no grease": 0.7}, (0.5, 1.0)),
    },
    "valve": {
        "id_00": Fault({"voltage change": 1}, (0.1, 0.25)),
        "id_02": Fault({"contamination": 0.5, "leakage": 1}, (0.5, 1.0)),
        "id_04": Fault({"contamination": 1}, (0.4, 0.9)),
        "id_06": Fault({"leakage": 1}, (0.15, 0.35)),
    },
}
"""Which fault each machine ID develops, and how severe it is."""

SITES = (
    (4.5, ((1030, 3),)),
    (4.0, ((240, 3), (480, 4), (910, 8), (1900, 4))),
    (5.0, ((390, 3), (590, 6), (2600, 3))),
)
"""Corners of the factory: slope of the rumble, dB per octave; lines of distant machinery, (Hz, height)."""


def _factory(rng: Generator) -> Sound:
    """Return factory noise, at any level: rumble and hum of one site, and what happens there."""
    slope, lines = SITES[rng.integers(len(SITES))]
    magnitude = _tilt(slope + rng.normal(0, 0.15))
    for line, height in lines:
        bell = np.exp(-0.5 * ((_FREQUENCY - line * rng.normal(1, 0.01)) / 3) ** 2)
        magnitude *= 1 + height * rng.lognormal(0, 0.2) * bell
    noise = _noise(rng, magnitude) * np.exp(0.15 * _wander(rng, 6))
    clanks = _strikes(rng.uniform(0, SECONDS, rng.poisson(3)), rng.uniform(0.5, 2))
    noise += _ring(clanks, [(rng.uniform(300, 1500), 40), (rng.uniform(1500, 4000), 20)])
    for _ in range(rng.poisson(0.5)):  # jets of compressed air
        size = int(SAMPLE_RATE * rng.uniform(0.3, 2))
        start = rng.integers(SAMPLES - size)
        jet = np.diff(rng.standard_normal(size + 1)) * np.hanning(size)
        noise[start : start + size] += rng.uniform(0.05, 0.3) * jet
    if rng.random() < 0.2:  # a warning signal
        on = (_TIME / rng.uniform(1, 3) + rng.random()) % 1 < 0.1
        noise += rng.uniform(0.01, 0.05) * on * np.sin(2 * np.pi * rng.choice([4100, 6600]) * _TIME)
    return noise


Kind = tuple[str, str, str]
"""Machine type, machine ID and condition."""


def _place(machine: str, machine_id: str, condition: str) -> list[int]:
    """Return where a kind of clip stands among all, or raise if there is none of that name."""
    names = {"machine": machine, "machine_id": machine_id, "condition": condition}
    known = (paper.MACHINES, paper.IDS, LABELS)
    for (parameter, name), allowed in zip(names.items(), known, strict=True):
        if name not in allowed:
            raise unknown_value(parameter, name, allowed)
    return [allowed.index(name) for name, allowed in zip(names.values(), known, strict=True)]


def parts(
    machine: str, machine_id: str, condition: str, index: int, *, snr: float = -6, seed: int = 0
) -> tuple[Sound, Sound]:
    """Sound one clip in two parts, so that they can be heard and measured apart.

    Parameters
    ----------
    machine, machine_id, condition
        Machine type, machine ID, and ``normal`` or ``abnormal``.
    index
        Number of the clip, from 0.
    snr
        Power of the machine over power of the noise, both over the whole clip, in dB. It sets the level of
        the noise and nothing else.
    seed
        Another seed, from 0, gives other clips of the same machines.

    Returns
    -------
    machine, noise
        Each of shape (160000,); the clip is their sum.

    Raises
    ------
    MimiiError
        If a name is not known.
    """
    place = _place(machine, machine_id, condition)
    rng, factory = (np.random.default_rng([seed, *place, index, part]) for part in (0, 1))
    model, fault = MODELS[machine][machine_id], FAULTS[machine][machine_id]
    severity = rng.uniform(*fault.severity) if condition == "abnormal" else 0.0
    sound = model.sound(rng, {kind: severity * fault.shares.get(kind, 0) for kind in model.kinds})
    noise = _factory(factory)
    level = MACHINE_RMS * 10 ** (rng.normal(0, 0.5) / 20)
    sound *= level / _rms(sound)
    noise *= level / _rms(noise) * 10 ** (-snr / 20)
    quieter = min(1, PEAK / np.abs(sound + noise).max())
    return quieter * sound, quieter * noise


def clip(machine: str, machine_id: str, condition: str, index: int, *, snr: float = -6, seed: int = 0) -> Sound:
    """Sound one clip: the sum of its `parts`, within ±0.98, shape (160000,).

    It depends on the arguments alone, bit for bit.
    """
    return np.add(*parts(machine, machine_id, condition, index, snr=snr, seed=seed))


def _circle(sound: Sound, channels: int) -> Sound:
    """Hear a clip with MIMII's circle of microphones, reached one after another, shape (160000, channels)."""
    delays = 1.6 * (1 - np.cos(2 * np.pi * np.arange(channels) / 8))  # in samples: a radius of 3.4 cm
    return np.stack([np.roll(sound, round(delay)) for delay in delays], axis=1)


def _made(dest: Path, settings: dict[str, Any]) -> bool:
    """Tell whether `dest` holds the miniature of these settings; raise if it holds anything else."""
    for marker in (dest / MARKER, dest / CLAIM):
        if marker.is_file():
            try:
                found = dict(json.loads(marker.read_text()))
            except (ValueError, TypeError):
                raise MimiiError(f"{marker}: cannot be read, expected JSON; remove {dest} or name another") from None
            differ = [
                "severities of another version" if key == "severity" else f"{key} {found.get(key)} (not {value})"
                for key, value in settings.items()
                if found.get(key) != value and (key != "severity" or found.get("machines") == settings["machines"])
            ]
            if differ:
                raise MimiiError(
                    f"{marker}: found a miniature of other settings, expected the ones asked for: "
                    f"{', '.join(differ)}; name another folder, or remove this one"
                )
            return marker.name == MARKER
    if dest.exists() and (not dest.is_dir() or any(not path.name.startswith(".") for path in dest.iterdir())):
        raise MimiiError(
            f"{dest}: found files that are no miniature's, expected an empty folder or none; "
            "name another folder, because recordings are never overwritten"
        )
    return False


def make(
    dest: Path,
    *,
    snr: int = -6,
    normal: int = 32,
    abnormal: int = 8,
    machines: Sequence[str] = paper.MACHINES,
    seed: int = 0,
    channels: int = 1,
) -> None:
    """Make the miniature: MIMII's tree of 10 s clips, 16 kHz, 16 bit, at one signal-to-noise ratio.

    Clips are ``dest/<snr>_dB_<machine>/<machine>/id_0X/{normal,abnormal}/NNNNNNNN.wav``, each moved into
    place once it is whole; ``dest/miniature.json`` comes last and says what made them. Where it says the same
    already, nothing is done; where a call with the same settings was interrupted, it is carried out anew.

    Parameters
    ----------
    dest
        A folder that is empty, not there yet, or a miniature of the same settings.
    snr
        Signal-to-noise ratio in dB.
    normal, abnormal
        Number of clips per machine ID.
    machines
        Machine types.
    seed
        Another seed, from 0, gives other clips of the same machines.
    channels
        Number of microphones; MIMII has 8.

    Raises
    ------
    MimiiError
        If `dest` holds anything else, a machine type is not known, or a number is too small.
    """
    size = {"normal": normal, "abnormal": abnormal, "seed": seed, "channels": channels}
    counts = {(machine, name): paper.ClipCount(normal, abnormal) for machine in machines for name in paper.IDS}

    def sounds(kind: Kind, count: int) -> Iterator[Sound]:
        for index in range(count):
            yield _circle(clip(*kind, index, snr=snr, seed=seed), channels)

    _make(Path(dest), snr, machines, size, counts, sounds)


STOCK = 12
"""Clips of each machine ID and condition that a tree of full size is mixed from."""


def make_full_size(dest: Path, *, share: float = 1.0, snr: int = -6, seed: int = 0) -> None:
    """Make a tree of as many clips as MIMII has, within minutes, to rehearse with.

    A few clips of each machine ID and condition are synthesised as :func:`make` does; every clip mixes the machine of
    one of them with the noise of another, each turned to begin elsewhere. No two clips are the same, but they are more
    alike than those of :func:`make`: this is for how long things take, not for what comes out.

    Parameters
    ----------
    dest
        A folder as for :func:`make`.
    share
        Share of MIMII's 18,019 clips: the same one of every machine ID and condition.
    snr
        Signal-to-noise ratio in dB.
    seed
        Another seed, from 0, gives other clips of the same machines.

    Raises
    ------
    MimiiError
        If `dest` holds anything else, or the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise MimiiError(f"share is {share}, expected a number above 0 and at most 1")
    counts = {
        (machine, name): paper.ClipCount(*(ceil(share * number) for number in astuple(published)))
        for machine, of in paper.MIMII.items()
        for name, published in of.items()
    }

    def sounds(kind: Kind, count: int) -> Iterator[Sound]:
        stock = [parts(*kind, index, snr=snr, seed=seed) for index in range(min(count, STOCK))]
        for index in range(count):
            rng = np.random.default_rng([seed, *_place(*kind), index, 2])
            machine, noise = stock[index % len(stock)][0], stock[rng.integers(len(stock))][1]
            mixed = np.roll(machine, rng.integers(SAMPLES)) + np.roll(noise, rng.integers(SAMPLES))
            yield mixed * min(1, PEAK / np.abs(mixed).max())

    _make(Path(dest), snr, paper.MACHINES, {"share": share, "stock": STOCK, "seed": seed}, counts, sounds)


def _make(
    dest: Path,
    snr: int,
    machines: Sequence[str],
    size: dict[str, Any],
    counts: Mapping[tuple[str, str], paper.ClipCount],
    sounds: Callable[[Kind, int], Iterator[Sound]],
) -> None:
    """Make a tree with so many clips of each machine ID, as `sounds` gives them of a kind."""
    for machine in machines:
        if machine not in paper.MACHINES:
            raise unknown_value("machines", machine, paper.MACHINES)
    for parameter, number in size.items():
        if number < (least := int(parameter == "channels")):
            raise MimiiError(f"{parameter} is {number}, expected {least} or more; give a larger number")
    severity = {machine: {name: asdict(fault) for name, fault in FAULTS[machine].items()} for machine in machines}
    settings = {"kind": "miniature", "snr": snr, **size, "machines": machines, "severity": severity}
    text = json.dumps(settings, indent=1)
    if _made(dest, json.loads(text)):
        return
    with atomic_write(dest / CLAIM) as part:
        part.write_text(text)
    total = sum(sum(astuple(number)) for number in counts.values())
    with tqdm(total=total, desc="miniature", unit="clip", leave=False, disable=None) as progress:
        for (machine, machine_id), condition in product(counts, LABELS):
            folder = dest / f"{snr}_dB_{machine}" / machine / machine_id / condition
            count = getattr(counts[machine, machine_id], condition)
            for index, sound in enumerate(sounds((machine, machine_id, condition), count)):
                with atomic_write(folder / f"{index:08d}.wav") as part:
                    soundfile.write(part, sound, SAMPLE_RATE, subtype="PCM_16")
                progress.update()
    with suppress(FileNotFoundError):  # where another process made the same at the same time and was first
        (dest / CLAIM).replace(dest / MARKER)
