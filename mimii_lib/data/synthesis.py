"""Physical models of the miniature's machines, their faults, and factory noise.

Each machine ID has a fault of its own, of a severity from 0 (none) to 1 (ruined). The severities in `FAULTS` are set by
the level of each fault alone (:mod:`~mimii_lib.data.fault_level`, ``benchmarks/miniature_severity.py``), and never
changed after a result. The sounds say nothing about MIMII's.

Conventions: time in seconds, frequency in Hz, sounds as float64 arrays of shape (160000,), at arbitrary level.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray
from scipy import fft, signal

from mimii_lib.settings import Imaging

Sound = NDArray[np.float64]

SAMPLE_RATE, SECONDS, SAMPLES = Imaging().sample_rate, Imaging().seconds, Imaging().samples
_TIME = np.arange(SAMPLES) / SAMPLE_RATE
_FREQUENCY = fft.rfftfreq(SAMPLES, 1 / SAMPLE_RATE)
_OCTAVES = np.log2(np.maximum(_FREQUENCY, 40) / 1000)  # relative to 1 kHz; constant below 40 Hz, to stay finite at 0


def rms(sound: Sound) -> float:
    """Return the root mean square of a sound."""
    return float(np.sqrt(np.mean(np.square(sound))))


def _sloped_spectrum(slope: float) -> Sound:
    """Return a magnitude spectrum that falls by `slope` dB per octave and is 1 at 1 kHz."""
    return np.exp2(_OCTAVES * (-slope / 6.02))


def _coloured_noise(rng: Generator, magnitude: Sound) -> Sound:
    """Return Gaussian noise with this magnitude spectrum and an RMS of 1."""
    spectrum = rng.standard_normal(2 * _FREQUENCY.size).view(np.complex128)
    sound = fft.irfft(spectrum * magnitude, SAMPLES)
    return sound / rms(sound)


def _random_curve(rng: Generator, knots: int) -> Sound:
    """Return linear interpolation between `knots` standard normal deviates."""
    return np.interp(_TIME, np.linspace(0, SECONDS, knots), rng.standard_normal(knots))


def _phase(rng: Generator, frequency: Sound | float) -> Sound:
    """Return the phase in cycles of an oscillation of this frequency (Hz), from a random start."""
    return rng.random() + np.cumsum(np.broadcast_to(frequency, SAMPLES)) / SAMPLE_RATE


def _harmonics(phase: Sound, amplitudes: ArrayLike) -> Sound:
    """Return the sum of a_k sin(2πk phase) over k = 1, 2, …, by Horner's rule with one exponential for all k."""
    phasor = np.exp(2j * np.pi * phase)
    total = np.zeros_like(phasor)
    for amplitude in np.asarray(amplitudes)[::-1]:
        total += amplitude
        total *= phasor
    return total.imag


def _impulses(times: Sound, strengths: ArrayLike) -> Sound:
    """Return impulses at these times (s); those outside the clip are dropped."""
    samples = np.round(times * SAMPLE_RATE).astype(int)
    inside = (samples >= 0) & (samples < SAMPLES)
    weights = np.broadcast_to(strengths, samples.shape)[inside]
    return np.bincount(samples[inside], weights, SAMPLES).astype(np.float64)


def _random_impulses(rng: Generator, per_second: float) -> Sound:
    """Return impulses at random times with log-normal strengths."""
    times = rng.uniform(0, SECONDS, rng.poisson(per_second * SECONDS))
    return _impulses(times, rng.lognormal(-0.5, 1.0, times.size))


def _growing_impulses(rng: Generator, per_second: float, severity: float) -> Sound:
    """Return impulses at random times, of which more sound, and each louder, the more severe the fault; at 1 all."""
    times = rng.uniform(0, SECONDS, rng.poisson(per_second * SECONDS))
    growth = np.maximum(severity - rng.random(times.size), 0)
    return _impulses(times, 2 * growth * rng.lognormal(-0.5, 1.0, times.size))


def _resonate(impulses: Sound, modes: Iterable[tuple[float, float]]) -> Sound:
    """Return the response of struck metal: every impulse excites each mode (frequency in Hz, decay in ms)."""
    sound = np.zeros(SAMPLES)
    for frequency, decay in modes:
        angle, radius = 2 * np.pi * frequency / SAMPLE_RATE, np.exp(-1000 / (decay * SAMPLE_RATE))
        sound += signal.lfilter([np.sin(angle)], [1, -2 * radius * np.cos(angle), radius**2], impulses)
    return sound


class Fan(NamedTuple):
    """Harmonics of the blade-pass frequency (blades × shaft speed), in turbulence."""

    shaft: float  # revolutions per second
    blades: int
    rolloff: float  # ratio of each blade-pass harmonic to the previous one
    air: float  # RMS of the turbulence
    slope: float  # of the turbulence, dB per octave

    def synthesize(self, rng: Generator, severity: Mapping[str, float]) -> Sound:
        """Return the sound of the fan at this severity, from 0 to 1, of each kind of fault."""
        load, pace = rng.normal(1, [0.08, 0.008])
        pace *= 1 - 0.15 * severity["voltage change"] + 0.04 * severity["clogging"]
        shaft = _phase(rng, self.shaft * pace * (1 + 0.002 * _random_curve(rng, 20)))
        wobble = 1 + 0.6 * severity["unbalance"] * np.sin(2 * np.pi * shaft)
        blades = load * _harmonics(self.blades * shaft, self.rolloff ** np.arange(8))
        mount = _harmonics(shaft, (0.05 + 1.2 * severity["unbalance"]) * 0.92 ** np.arange(30))
        # At a wrong voltage the iron of the motor saturates: it hums louder, and with more harmonics.
        hum = (0.9 + 0.05 * severity["voltage change"]) ** np.arange(32)
        motor = _harmonics(_phase(rng, 100), (0.05 + 1.2 * severity["voltage change"]) * hum)
        # A clogged fan moves less air: the flow stalls and surges at low frequency.
        surge = (1 + 2 * severity["clogging"]) * np.exp(0.8 * severity["clogging"] * _random_curve(rng, 40))
        air = self.air * surge * _coloured_noise(rng, _sloped_spectrum(self.slope + 3 * severity["clogging"]))
        touches = np.flatnonzero(np.diff(np.floor(shaft))) / SAMPLE_RATE  # once per revolution
        rub = _resonate(_impulses(touches, rng.lognormal(0, 0.4, touches.size)), [(2600, 4), (4300, 2)])
        return wobble * (blades + air) + mount + motor + 9 * severity["rubbing"] * rub


class Pump(NamedTuple):
    """Harmonics of the pulse rate, a flow modulated by it, gears and bubbles."""

    pulse: float  # pulses per second
    rolloff: float  # ratio of each harmonic of the pulse to the previous one
    whine: float  # of the gears, Hz
    flow: float  # RMS of the flow
    slope: float  # of the flow, dB per octave
    bubbles: float  # per second

    def synthesize(self, rng: Generator, severity: Mapping[str, float]) -> Sound:
        """Return the sound of the pump at this severity, from 0 to 1, of each kind of fault."""
        load, pace = rng.normal(1, [0.08, 0.008])
        pace = pace * (1 - 0.06 * severity["clogging"]) * (1 + 0.003 * _random_curve(rng, 15))
        pulse = _phase(rng, self.pulse * pace)
        push = np.sin(2 * np.pi * pulse)
        beat = load * (1 - 0.5 * severity["leakage"]) * _harmonics(pulse, self.rolloff ** np.arange(12))
        gears = 1 + 0.2 * _random_curve(rng, 30) + severity["contamination"] * _random_curve(rng, 400)
        whine = gears * _harmonics(_phase(rng, self.whine * pace), [0.5, 0.15])
        swell = (1 - 0.4 * severity["clogging"]) * (1 + (0.5 + 0.5 * severity["clogging"]) * push)
        flow = self.flow * swell * _coloured_noise(rng, _sloped_spectrum(self.slope))
        hiss = 4 * severity["leakage"] * _coloured_noise(rng, _sloped_spectrum(-2))
        bubbles = _random_impulses(rng, self.bubbles) + _growing_impulses(rng, 3 * self.bubbles, severity["leakage"])
        # A clogged inlet causes cavitation during the push; grit passes at any time.
        cavities = np.maximum(push, 0) * _growing_impulses(rng, 60, severity["clogging"])
        grains = _growing_impulses(rng, 40, severity["contamination"])
        knocks = _resonate(bubbles, [(1500, 6), (2300, 3)]) + _resonate(2 * cavities + 4 * grains, [(3800, 2)])
        return beat + whine + flow + hiss + 0.8 * knocks


class Slider(NamedTuple):
    """A carriage on a rail: strokes with ramps and pauses, friction, a drive whose pitch follows the speed."""

    period: float  # of a stroke and its pause, seconds
    duty: float  # share of the period in which it moves
    ramp: float  # share of the period until full speed
    group: int  # one of so many strokes is left out
    whine: float  # of the drive at full speed, Hz
    friction: float  # RMS of the friction at full speed, relative to the drive
    slope: float  # of the friction, dB per octave

    def synthesize(self, rng: Generator, severity: Mapping[str, float]) -> Sound:
        """Return the sound of the slider at this severity, from 0 to 1, of each kind of fault."""
        load, pace = rng.normal(1, [0.1, 0.02])
        pace = pace * (1 + 0.02 * (1 + 4 * severity["loose belt"]) * _random_curve(rng, 12))
        strokes = _phase(rng, pace / self.period)
        position = strokes % 1
        speed = np.clip(np.minimum(position, self.duty - position) / self.ramp, 0, 1)
        speed *= (np.floor(strokes) + rng.integers(self.group)) % self.group > 0
        judder = 1 + 0.12 * severity["loose belt"] * np.sin(2 * np.pi * _phase(rng, 11))
        drive = speed * _harmonics(_phase(rng, self.whine * speed * judder), [1, 0.5, 0.3, 0.2])
        # The carriage passes a dent in the rail at the same position of every stroke: it scrapes and knocks there.
        dent = 0.6 * self.duty
        rough = 1 + 3 * severity["no grease"] + 9 * severity["rail damage"] * np.exp(-(((position - dent) / 0.06) ** 2))
        slope = self.slope * (1 - 0.6 * severity["no grease"])
        scrape = load * rough * speed * _coloured_noise(rng, _sloped_spectrum(slope))
        # Stick-slip of dry metal: squeals in bursts while the carriage moves.
        squeal = np.exp(_random_curve(rng, 150)) * _harmonics(_phase(rng, 2900 * (0.9 + 0.1 * speed)), [1, 0.4])
        scrape += 0.6 * severity["no grease"] * speed * squeal
        passages = np.flatnonzero(np.diff(np.floor(strokes - dent))) / SAMPLE_RATE
        knocks = 5 * severity["rail damage"] * speed * _impulses(passages, 1)
        ends = np.flatnonzero(np.diff(speed > 0)) / SAMPLE_RATE
        slaps = (0.3 + 2 * severity["loose belt"]) * _impulses(ends, rng.lognormal(0, 0.3, ends.size))
        hits = _resonate(slaps, [(320, 20), (700, 10)]) + _resonate(knocks, [(1400, 12), (3100, 6)])
        return drive + self.friction * scrape + hits


class Valve(NamedTuple):
    """A solenoid: a hard click and a puff of air when it opens, a softer click when it closes."""

    period: float  # of one opening and closing, seconds
    hold: float  # share of the period in which it is open
    run: int  # cycles in a row
    rest: int  # cycles left out after a run
    close: float  # strength of the closing click, relative to the opening one
    body: tuple[tuple[float, float], ...]  # modes: frequency in Hz, decay in ms

    def synthesize(self, rng: Generator, severity: Mapping[str, float]) -> Sound:
        """Return the sound of the valve at this severity, from 0 to 1, of each kind of fault."""
        dirt, weak = severity["contamination"], severity["voltage change"]
        period = self.period * rng.normal(1, 0.01)
        cycles = np.arange(-1, SECONDS / period)
        cycles = cycles[(cycles + rng.integers(self.run + self.rest)) % (self.run + self.rest) < self.run]
        delay = rng.exponential(0.002 + 0.25 * dirt, (2, cycles.size))
        force = rng.lognormal(0, 0.12 + 0.8 * dirt, (2, cycles.size))
        opens = period * (cycles + rng.random()) + delay[0]
        closes = opens + period * self.hold + delay[1]
        opening = _impulses(opens, (1 - 0.5 * weak) * force[0])
        bounce = _impulses(opens + 0.018, 0.7 * dirt * force[0])
        # At low voltage the plunger chatters at twice the mains frequency.
        chatter = (opens[:, None] + np.arange(0.01, period * self.hold, 0.01)).ravel()
        chatter = _impulses(chatter, 0.15 * weak * rng.lognormal(0, 0.5, chatter.size))
        clicks = opening + bounce + chatter + _impulses(closes, self.close * force[1])
        # Dirt on the seat damps the impact: high modes decay faster.
        body = [(frequency, decay / (1 + dirt * frequency / 2000)) for frequency, decay in self.body]
        breath = 0.02 * signal.lfilter([1], [1, -np.exp(-1 / (0.03 * SAMPLE_RATE))], opening)
        leak = 0.06 * severity["leakage"] * (1 + 0.3 * _random_curve(rng, 60))
        return _resonate(clicks, body) + (breath + leak) * _coloured_noise(rng, _sloped_spectrum(-1))


# Each (machine type, machine ID) without a fault.
MODELS: dict[tuple[str, str], Fan | Pump | Slider | Valve] = {
    ("fan", "id_00"): Fan(shaft=24, blades=7, rolloff=0.75, air=1.2, slope=5),
    ("fan", "id_02"): Fan(shaft=31, blades=5, rolloff=0.6, air=0.9, slope=4),
    ("fan", "id_04"): Fan(shaft=19, blades=9, rolloff=0.7, air=1.5, slope=6),
    ("fan", "id_06"): Fan(shaft=43, blades=6, rolloff=0.55, air=1.0, slope=3),
    ("pump", "id_00"): Pump(pulse=29, rolloff=0.85, whine=870, flow=1.2, slope=4, bubbles=12),
    ("pump", "id_02"): Pump(pulse=47, rolloff=0.8, whine=620, flow=0.9, slope=5, bubbles=4),
    ("pump", "id_04"): Pump(pulse=58, rolloff=0.7, whine=1450, flow=0.7, slope=3, bubbles=1),
    ("pump", "id_06"): Pump(pulse=36, rolloff=0.75, whine=430, flow=1.0, slope=6, bubbles=2),
    ("slider", "id_00"): Slider(period=0.62, duty=0.85, ramp=0.03, group=5, whine=210, friction=0.75, slope=4),
    ("slider", "id_02"): Slider(period=0.95, duty=0.90, ramp=0.05, group=4, whine=340, friction=0.45, slope=3),
    ("slider", "id_04"): Slider(period=1.25, duty=0.45, ramp=0.12, group=9, whine=2400, friction=1.0, slope=2),
    ("slider", "id_06"): Slider(period=1.05, duty=0.35, ramp=0.16, group=12, whine=160, friction=1.6, slope=1),
    ("valve", "id_00"): Valve(period=1.08, hold=0.50, run=9, rest=1, close=0.25, body=((2300, 1.5), (6200, 3.0))),
    ("valve", "id_02"): Valve(period=1.12, hold=0.45, run=4, rest=3, close=0.15, body=((1100, 2.0), (5400, 2.0))),
    ("valve", "id_04"): Valve(period=0.98, hold=0.30, run=6, rest=2, close=0.40, body=((700, 3.0), (5600, 2.0))),
    ("valve", "id_06"): Valve(period=0.74, hold=0.50, run=5, rest=1, close=0.60, body=((2000, 2.0), (4000, 3.0))),
}


class Fault(NamedTuple):
    """The fault of a machine ID: a factor of the severity for each kind, and the range of the severity."""

    shares: Mapping[str, float]
    severity: tuple[float, float]

    def kinds(self, severity: float) -> Mapping[str, float]:
        """Return the severity of each kind of fault, 0 for those that the machine does not have."""
        return defaultdict(float, {kind: severity * share for kind, share in self.shares.items()})


# The fault of each (machine type, machine ID); benchmarks/miniature_severity.json holds the levels of these severities.
FAULTS = {
    ("fan", "id_00"): Fault({"rubbing": 1, "unbalance": 0.5}, (0.176, 0.262)),
    ("fan", "id_02"): Fault({"clogging": 1}, (0.343, 0.858)),
    ("fan", "id_04"): Fault({"voltage change": 1}, (0.474, 0.77)),
    ("fan", "id_06"): Fault({"unbalance": 1}, (0.161, 0.313)),
    ("pump", "id_00"): Fault({"leakage": 1}, (0.0578, 0.0828)),
    ("pump", "id_02"): Fault({"contamination": 1}, (0.308, 0.389)),
    ("pump", "id_04"): Fault({"clogging": 1}, (0.0219, 0.0743)),
    ("pump", "id_06"): Fault({"contamination": 1, "clogging": 0.5}, (0.403, 0.519)),
    ("slider", "id_00"): Fault({"no grease": 1}, (0.343, 0.667)),
    ("slider", "id_02"): Fault({"loose belt": 1}, (0.227, 0.466)),
    ("slider", "id_04"): Fault({"rail damage": 1}, (0.0253, 0.0519)),
    ("slider", "id_06"): Fault({"loose belt": 1, "no grease": 0.7}, (0.189, 0.368)),
    ("valve", "id_00"): Fault({"voltage change": 1}, (0.145, 0.211)),
    ("valve", "id_02"): Fault({"contamination": 0.5, "leakage": 1}, (0.0858, 0.135)),
    ("valve", "id_04"): Fault({"contamination": 1}, (0.0368, 0.0874)),
    ("valve", "id_06"): Fault({"leakage": 1}, (0.276, 0.426)),
}

FACTORY_SITES = (
    (4.5, ((1030, 3),)),
    (4.0, ((240, 3), (480, 4), (910, 8), (1900, 4))),
    (5.0, ((390, 3), (590, 6), (2600, 3))),
)
"""Places in the factory: slope of the rumble in dB per octave; spectral lines of distant machinery, (Hz, height)."""


def factory_noise(rng: Generator) -> Sound:
    """Return factory noise: rumble and hum of one site, clanks, air jets, warning signals."""
    slope, lines = FACTORY_SITES[rng.integers(len(FACTORY_SITES))]
    magnitude = _sloped_spectrum(slope + rng.normal(0, 0.15))
    for line, height in lines:
        bell = np.exp(-0.5 * ((_FREQUENCY - line * rng.normal(1, 0.01)) / 3) ** 2)
        magnitude *= 1 + height * rng.lognormal(0, 0.2) * bell
    noise = _coloured_noise(rng, magnitude) * np.exp(0.15 * _random_curve(rng, 6))
    clanks = _impulses(rng.uniform(0, SECONDS, rng.poisson(3)), rng.uniform(0.5, 2))
    noise += _resonate(clanks, [(rng.uniform(300, 1500), 40), (rng.uniform(1500, 4000), 20)])
    for _ in range(rng.poisson(0.5)):  # jets of compressed air
        size = int(SAMPLE_RATE * rng.uniform(0.3, 2))
        start = rng.integers(SAMPLES - size)
        jet = np.diff(rng.standard_normal(size + 1)) * np.hanning(size)
        noise[start : start + size] += rng.uniform(0.05, 0.3) * jet
    if rng.random() < 0.2:  # a warning signal
        on = (_TIME / rng.uniform(1, 3) + rng.random()) % 1 < 0.1
        noise += rng.uniform(0.01, 0.05) * on * np.sin(2 * np.pi * rng.choice([4100, 6600]) * _TIME)
    return noise
