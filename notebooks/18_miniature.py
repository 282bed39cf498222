# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (miniature)=
# # The miniature: how its sounds are made
#
# The recordings of MIMII take a hundred gigabytes. The **miniature** replaces them where only a laptop is at hand: it has the same folders,
# file names, sample rate, clip length and classes, but every sound in it is synthesised. This page shows how. It is for readers
# who want to know what a number computed from the miniature can mean, and what it cannot.
#
# Four machine types have four **machine IDs** each: `id_00`, `id_02`, `id_04` and `id_06`, one for each product model. Every machine ID has its own
# parameters and its own fault. A clip is the sound of a machine plus factory noise.

# %% tags=["parameters", "remove-cell"]
record = "benchmarks/miniature_severity.json"  # record of the levels, a path below the project's folder

# %% [markdown]
# ## One clip, step by step
#
# A machine ID is a set of physical parameters. Here is the first fan:

# %%
from mimii_lib.data.synthesis import FAULTS, MODELS

fan = MODELS["fan", "id_00"]
fan

# %% [markdown]
# Its sound follows from these parameters and from a random generator, which stands for everything that differs from clip to clip: the load, the exact
# speed, the turbulence. A fault has a **severity** from 0 (none) to 1 (ruined). Two generators with the same seed give the same
# random draw, so the two sounds below differ by the fault alone.

# %%
import numpy as np


def synthesized(machine, machine_id, severity, draw=0):
    """Return the sound of a machine with its fault, from a random draw."""
    kinds = FAULTS[machine, machine_id].kinds(severity)
    rng = np.random.default_rng(draw)
    return MODELS[machine, machine_id].synthesize(rng, kinds)


normal = synthesized("fan", "id_00", severity=0)
faulty = synthesized("fan", "id_00", severity=0.25)

# %% [markdown]
# Both are then scaled to the same root mean square (RMS), so that loudness alone does not give the fault away. The noise is
# scaled so that its power is 6 dB above that of the machine: the signal-to-noise ratio (SNR) is −6 dB.

# %%
from mimii_lib.data.synthesis import factory_noise, rms

noise = factory_noise(np.random.default_rng(0))
noise = 10 ** (6 / 20) * noise / rms(noise)
normal, faulty = normal / rms(normal), faulty / rms(faulty)

# %%
from mimii_lib.pages import miniature as page

page.sounds(
    {
        "the fan, normal": normal,
        "the fan, rubbing and unbalanced, from the same draw": faulty,
        "factory noise": noise,
        "faulty fan and noise: the clip": faulty + noise,
    }
)

# %% [markdown]
# The images are log-mel spectrograms: time to the right, pitch upwards, brighter means louder. The rubbing blade adds a burst at every revolution,
# around 2.6 and 4.3 kHz. The noise covers most of the fan, and leaves the bursts partly visible.
#
# All clips of the dataset are made by one function. The name of a clip seeds its generators, so that a clip is the same on every run, bit for bit, whichever
# other clips are made.

# %%
from mimii_lib.data.miniature import clip_parts

machine_part, noise_part = clip_parts("fan", "id_00", "abnormal", 0, snr=-6)
snr = 10 * np.log10(np.mean(machine_part**2) / np.mean(noise_part**2))
f"SNR of the clip: {snr:.1f} dB"

# %% [markdown]
# ## Factory noise
#
# The noise has five parts: a rumble whose spectrum falls by 4 to 5 dB per octave, with the spectral lines of distant machines; a slow change
# of level; clanks of metal; jets of compressed air; and, in one clip of five, a warning signal. The lines and the slope belong to a place in
# the factory, of which there are three. Each clip draws one of them, and everything else anew. Two draws of the noise:

# %%
noises = {}
for draw in (0, 1):
    sound = factory_noise(np.random.default_rng(draw))
    noises[f"draw {draw}"] = sound / rms(sound)
page.sounds(noises)

# %% [markdown]
# ## Fan
#
# A fan with $n$ blades, whose shaft makes $f$ revolutions per second, pushes air $n f$ times per second. Its sound is a series of
# harmonics of this blade-pass frequency, each weaker than the one before by the factor $r$, plus turbulence:
#
# $$
# x(t) = \sum_{k=0}^{7} r^k \sin\bigl(2\pi (k+1)\, n\, \varphi(t)\bigr) + a\, w(t)
# $$
#
# $\varphi(t)$ is the number of revolutions until time $t$, and $w$ is Gaussian noise with a sloped spectrum and an RMS of 1. A weak hum of the motor (multiples of
# 100 Hz) and of the mount (multiples of $f$) are added. The sound above should therefore peak at the blade-pass frequency:

# %%
from scipy import signal

rate = 16_000  # samples per second
frequency, power = signal.welch(normal, rate, nperseg=rate)
peak = frequency[power.argmax()]
f"peak at {peak:.0f} Hz; blades × revolutions: {fan.blades * fan.shaft} Hz"

# %% [markdown]
# It does. Each of the four fans has a fault of its own:
#
# | machine ID | fault | what it does |
# |---|---|---|
# | `id_00` | rubbing, with unbalance | a blade touches the housing once per revolution: bursts at 2.6 and 4.3 kHz |
# | `id_02` | clogging | the flow stalls and surges: turbulence gets louder, deeper and uneven |
# | `id_04` | voltage change | the fan runs up to 15 % slower, and its motor hums louder, with more harmonics |
# | `id_06` | unbalance | the mount rings at multiples of the shaft's speed, and the loudness wobbles with it |
#
# Each image below shows the same one and a half seconds three times, with white lines between them: without the fault, with it at the severity in the
# middle of its range, and with it in the noise, as in a clip.


# %%
def faults_of(machine):
    """Return, by fault, the sound without it, with it, and with noise."""
    sounds = {}
    for (name, machine_id), fault in FAULTS.items():
        if name == machine:
            middle = np.mean(fault.severity)
            without = synthesized(machine, machine_id, 0)
            with_it = synthesized(machine, machine_id, middle)
            with_it *= rms(without) / rms(with_it)
            parts = [without, with_it, with_it + rms(without) * noise]
            sounds[f"{machine_id}: {' and '.join(fault.shares)}"] = parts
    return sounds


page.sounds(faults_of("fan"), start=2, seconds=1.5)

# %% [markdown]
# ## Pump
#
# A pump pushes its liquid in pulses, $f$ per second. Harmonics of the pulse rate, as above, are joined by the noise of the flow, which swells with
# each push, by the whine of the gears, and by bubbles, which knock at random times:
#
# $$
# x(t) = \sum_{k=0}^{11} r^k \sin\bigl(2\pi (k+1) \varphi(t)\bigr) + a \bigl(1 + \tfrac12 \sin 2\pi\varphi(t)\bigr)\, w(t) + \dots
# $$
#
# Is the swelling there? Above 5 kHz only the flow is left. The power of that part should vary at the pulse rate:

# %%
pump = synthesized("pump", "id_00", severity=0)
high_pass = signal.butter(4, 5000, "high", fs=rate, output="sos")
flow = signal.sosfilt(high_pass, pump)
frequency, power = signal.periodogram(flow**2, rate, detrend="constant")
peak = frequency[power.argmax()]
pulse = MODELS["pump", "id_00"].pulse
f"varies at {peak:.1f} Hz; pulse rate: {pulse} Hz"

# %% [markdown]
# It does, but for the pace, which differs a little from clip to clip. The faults:
#
# | machine ID | fault | what it does |
# |---|---|---|
# | `id_00` | leakage | the pulses get weaker, air hisses, and there are more bubbles |
# | `id_02` | contamination | grains of dirt knock at random times at 3.8 kHz, and the whine fluctuates |
# | `id_04` | clogging | the pump is up to 6 % slower, and cavities collapse while it pushes |
# | `id_06` | contamination, with clogging | both |

# %%
page.sounds(faults_of("pump"), start=2, seconds=1.5)

# %% [markdown]
# ## Slider
#
# A slide rail carries its carriage to and fro. What matters is the speed: it rises, stays and falls within a share of every period, the
# stroke; then the carriage pauses. After every few strokes the carriage pauses for one, which the cell below leaves out.

# %%
slider = MODELS["slider", "id_00"]
time = np.arange(10 * rate) / rate
position = time / slider.period % 1
ramps = np.minimum(position, slider.duty - position) / slider.ramp
speed = np.clip(ramps, 0, 1)
moving, full = np.mean(speed > 0), np.mean(speed == 1)
f"moves {moving:.0%} of the time, {full:.0%} at full speed"

# %% [markdown]
# With this speed $v(t)$, the drive is a tone of four harmonics whose pitch and loudness both follow $v$. The friction is noise times
# $v$. At both ends of a stroke the carriage hits a stop, which rings at 320 and 700 Hz.
#
# | machine ID | fault | what it does |
# |---|---|---|
# | `id_00` | no grease | friction gets louder and brighter, and dry metal squeals near 2.9 kHz |
# | `id_02` | loose belt | the drive judders 11 times per second, the pace wanders, and the ends of a stroke hit harder |
# | `id_04` | rail damage | at one position of each stroke the carriage scrapes and knocks |
# | `id_06` | loose belt, with no grease | both |

# %%
page.sounds(faults_of("slider"), start=2, seconds=1.5)

# %% [markdown]
# ## Valve
#
# A solenoid valve clicks when it opens and, softer, when it closes; a puff of air follows the opening. A click is an impulse that excites the modes of
# the valve's body, each a decaying oscillation with a frequency $f_i$ and a decay time $\tau_i$:
#
# $$
# h(t) = \sum_i e^{-t/\tau_i} \sin 2\pi f_i t
# $$
#
# These clicks are short. The first mode of the first valve, from its peak to a thousandth of it:

# %%
mode, decay = MODELS["valve", "id_00"].body[0]  # Hz, ms
f"{mode} Hz, gone after {decay * np.log(1000):.0f} ms"

# %% [markdown]
# | machine ID | fault | what it does |
# |---|---|---|
# | `id_00` | voltage change | opening is weaker, and the plunger chatters 100 times per second while it is held |
# | `id_02` | leakage, with contamination | air hisses all the time; delays and forces vary |
# | `id_04` | contamination | delays and forces vary, the plunger bounces, and high modes decay faster |
# | `id_06` | leakage | air hisses all the time |

# %%
page.sounds(faults_of("valve"), start=5.5, seconds=1.5)

# %% [markdown]
# ## How loud a fault is
#
# The same severity makes a loud fault in one machine, and one that the noise hides in another. The severities were therefore set so that every fault has a prescribed
# **level**: how much it changes, relative to all that can mask it. It takes a few lines to compute. First the power of each sound in mel
# bands, which are about as wide as the bands in which the ear separates sounds:

# %%
import librosa


def mel_powers(sound):
    """Return the power of a sound in 64 mel bands, in windows of 256 ms."""
    return librosa.feature.melspectrogram(
        y=sound, sr=rate, n_fft=4096, hop_length=2048, n_mels=64
    )


# %% [markdown]
# Then the change that the fault makes to the power in each band and window, and the power of the rest: the normal machine and the noise.

# %% mystnb={"figure": {"caption": "Mean power of what the fault changes, and of all that can mask it. The vertical line marks the band where the fault stands out most; its length is the level."}, "image": {"alt": "Two curves over 64 mel bands: the change rises above the rest in a few high bands only"}}
change = np.abs(mel_powers(faulty) - mel_powers(normal)).mean(axis=1)
rest = (mel_powers(normal) + mel_powers(noise)).mean(axis=1)
page.level_by_band(change, rest)

# %% [markdown]
# The level of the fault is the ratio of the two in the band where it is largest, since a fault is heard where it stands out most:
#
# $$
# L = 10 \log_{10} \max_b \frac{\bigl\langle\, |F_b(t) - N_b(t)|\, \bigr\rangle_t}{\bigl\langle N_b(t) + R_b(t) \bigr\rangle_t}\ \text{dB}
# $$
#
# $F$, $N$ and $R$ are the mel powers of the faulty machine, the normal machine and the noise; $\langle\cdot\rangle_t$ is the mean over time.

# %%
from mimii_lib.data.fault_level import fault_level

level = 10 * np.log10((change / rest).max())
assert np.isclose(level, fault_level("fan", "id_00", 0.25, draws=1))
f"level of this fault: {level:.1f} dB"

# %% [markdown]
# This is the level of one draw. The library averages over several draws, which can differ by some decibels.
#
# **Why not subtract the samples?** A fault can change the pace of a machine. Predict: the severity of the fan's voltage change falls to a hundredth.
# How much softer is the difference of the two waveforms? And how much lower the level?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
import pandas as pd

steady = synthesized("fan", "id_04", severity=0)
rows = {}
for severity in (1, 0.1, 0.01):
    slow = synthesized("fan", "id_04", severity)
    difference = slow / rms(slow) - steady / rms(steady)
    power_level = fault_level("fan", "id_04", severity, draws=1)
    rows[severity] = [20 * np.log10(rms(difference)), power_level]
columns = ["difference of samples (dB to the fan)", "level (dB)"]
pd.DataFrame.from_dict(rows, "index", columns=columns).round(1)

# %% [markdown]
# :::{dropdown} Interpretation
# The difference of samples hardly falls. A fan that is slower by one part in a thousand is out of step within seconds, and then the difference of
# two tones is as loud as both together. It cannot tell a slight fault from a severe one; the difference of powers can.
# :::
#
# ## The four steps
#
# :::{admonition} We decided
# :class: decision
# The faults of a machine type lie at four levels, {glue:text}`gap` dB apart. At the highest, {glue:text}`top` dB, the fault is
# {glue:text}`strength:.1f` times as strong as all else in its band, and clearly audible. At the lowest, {glue:text}`bottom` dB, it raises the level of its band by
# {glue:text}`rise:.1f` dB, less than the one decibel that an ear notices: nearly masked. The machine ID whose fault is loudest at severity 1 gets the highest step,
# and so on down, since not every fault can reach every step. The severity of each abnormal clip is drawn between those at which the level is
# {glue:text}`spread` dB below and above its step.
#
# **No detector had a part in this.** The steps, the rule and the severities were fixed by level alone, before any AUC was computed from these sounds, and
# are not changed afterwards.
# :::

# %%
import json

from mimii_lib.run.profiles import ROOT

levels = json.loads((ROOT / record).read_text())
faults = pd.DataFrame(levels["faults"])
ends = pd.DataFrame([*faults.severity], columns=["from", "to"]).round(2)
words = faults.shares.map(" and ".join).rename("fault")
table = pd.concat([faults[["machine", "id"]], words, ends], axis=1)
table[["step (dB)", "at severity 1 (dB)"]] = faults[["step", "reach"]].round(1)
table.set_index(["machine", "id"])

# %% tags=["remove-cell"]
from myst_nb import glue


def with_sign(number):
    """Return a level with the sign of print."""
    return f"{number:+g}".replace("-", "−")


top, second, *_, bottom = levels["steps"]
glue("gap", f"{top - second:g}", display=False)
glue("top", with_sign(top), display=False)
glue("bottom", with_sign(bottom), display=False)
glue("strength", 10 ** (top / 10), display=False)
glue("rise", float(10 * np.log10(1 + 10 ** (bottom / 10))), display=False)
glue("spread", f"{levels['spread']:g}", display=False)
glue("n_draws", levels["draws"], display=False)
aims = [[step - levels["spread"], step + levels["spread"]] for step in faults.step]
misses = np.abs(np.subtract(aims, [*faults.level]))
glue("miss", float(misses.max()), display=False)
lowest = faults.loc[faults.reach.idxmin()]
glue("lowest", f"{lowest.machine} {lowest.id}", display=False)
glue("lowest_reach", with_sign(round(lowest.reach, 1)), display=False)
middles = faults.severity.map(np.mean)
glue("least", float(middles.min()), display=False)
glue("most", float(middles.max()), display=False)

# %% [markdown]
# The columns *from* and *to* are the range of the severity. At its ends the level, as a mean over {glue:text}`n_draws` draws, is what it should be within
# {glue:text}`miss:.1f` dB. The middles of the ranges lie between {glue:text}`least:.2f` and {glue:text}`most:.2f`: severity is a number of the
# synthesis, and only the level can be compared between machines. The last column is the level of the ruined machine. That of the
# {glue:text}`lowest` is {glue:text}`lowest_reach` dB: even a ruined machine can be hard to hear in the noise.
#
# Make the record anew (some minutes):
#
# ```bash
# python benchmarks/miniature_severity.py
# ```
#
# ## What the miniature is for
#
# It shows that every step of the method runs, and what each step does to a sound whose cause is known exactly. It serves to try a change in
# minutes, to teach, and to test the software.
#
# ## What it does not say
#
# - **Nothing about MIMII.** Real machines, microphones and rooms are not sums of a few formulas. An AUC on the miniature neither confirms nor refutes
#   a statement of the paper.
# - **Nothing about which system is best.** Patterns as clean as these differ from photographs, for which the networks were trained, and each
#   machine ID has only a few training clips.
# - **A level is not a difficulty.** A detector has to tell a fault from what varies among normal clips, too: the load, the pace, the place of the noise.
#   The level leaves that out, and so do changes of rhythm within a window of 256 ms.
