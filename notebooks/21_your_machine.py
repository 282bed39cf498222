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
# (your-machine)=
# # Your own machine
#
# You have a microphone at a machine, and recordings of it running well. This page leads from there to a detector with a known rate of false
# alarms, and to an alarm, in about twenty minutes. It has seven steps: record, fit, check, choose a threshold, score, listen, watch. Each is a command,
# and a line of Python that this page runs.
#
# The page runs on recordings that are at hand. To run it on a folder of your own, name it; a folder of faults is optional:
#
# ```bash
# papermill notebooks/21_your_machine.ipynb out.ipynb \
#   -p normal recordings/normal -p abnormal recordings/faults
# ```

# %% tags=["parameters", "remove-cell"]
normal = None  # folder of recordings of a machine that runs well; None: the clips of the profile's first machine ID
abnormal = None  # folder of recordings of its faults, if there are any
system = "ensemble"  # row of the results table
machine = None  # machine types, such as ["fan", "pump"]; None: all of the profile's
profile = "miniature"  # a file of profiles/ or the path of one; it says what is None below
data = None  # folder of the recordings, laid out as MIMII is
snr = None  # signal-to-noise ratio, in dB
ids = None  # machine IDs, such as ["id_00", "id_02"]
extractors = None  # feature extractors, such as ["squeezenet1_1"]
detectors = None  # detectors, such as ["gmm", "kde"]
seeds = None  # seeds, such as [0, 1]: each draws a split and starts the detectors
weights = None  # folder of weight files
settings = None  # settings by name, such as {"imaging.hop": 512}

# %% [markdown]
# ## 1. Record
#
# The recordings decide what the detector can hear. No later step makes up for them.
#
# | | what to do | why |
# |---|---|---|
# | how long | 10 s, and at least one whole cycle of the machine; 1 s is the shortest | the detector hears a recording, or 10 s of it, at a time |
# | how many | 20 to fit on, better 40, and as many again to check | the lowest false-alarm rate from $n$ recordings is $1/(n+1)$ |
# | when | at different hours and days; never one long recording cut in pieces | pieces of one recording resemble each other more than the next day resembles them |
# | what to vary | load, speed, temperature, neighbours: whatever is normal | what was never heard is unusual, and raises an alarm |
# | where | one fixed place near the part that may fail; the same microphone, place and gain for fitting and for use | a moved microphone sounds like another machine |
# | how | WAV or FLAC at 16 kHz or more; automatic gain and noise suppression off | both remove what tells a fault; MP3 and OGG are read, too |
# | faults | five or more recordings, if there are any: a throttled valve, an unbalanced load | without them nobody can tell what is detected |
#
# `arecord -f S16_LE -r 16000 -d 10 normal/0001.wav` records ten seconds under Linux.

# %% tags=["hide-input"]
from IPython.display import Markdown

from mimii_lib.data import own_recordings
from mimii_lib.pages import run_box
from mimii_lib.run import runs_of

if normal is None:
    run = runs_of(
        machine,
        profile=profile,
        data=data,
        snr=snr,
        ids=ids,
        extractors=extractors,
        detectors=detectors,
        seeds=seeds,
        weights=weights,
        settings=settings,
    )[0]
    clips = run.recordings.clips_of(run.ids[0]).groupby("label").path
    normal_files, faulty_files = (
        [run.recordings.data / path for path in clips.get_group(label)[:120]]
        for label in ("normal", "abnormal")
    )
    kind = run_box.RECORDING_KINDS[run.recordings.kind]
    origin = f"of the {run.machine} {run.ids[0]} ({kind})"
else:
    normal_files = own_recordings.find([normal])
    faulty_files = own_recordings.find([abnormal]) if abnormal else []
    origin = "of your machine"
Markdown(
    f"This page uses {len(normal_files)} normal and {len(faulty_files)} faulty recordings {origin}."
)

# %% [markdown]
# ## 2. Fit
#
# Two of three normal recordings train; the others are kept for the check. With your own recordings, keep those of another day.

# %%
to_fit = [path for number, path in enumerate(normal_files) if number % 3 < 2]
unseen = normal_files[2::3]

# %% [markdown]
# ```bash
# mimii fit recordings/normal -o machine.mimii
# ```

# %%
from mimii_lib import Monitor

monitor = Monitor.fit(to_fit, system=system, say=print)

# %% [markdown]
# A **system** turns a recording into one anomaly score. The default is the [ensemble](after_paper.ipynb) of four detectors; `--system` takes any row of the results table. Then each
# recording was held back in turn, and scored by a fit without it. These {glue:text}`n_calibration` scores tell how high normal sound scores: the **calibration**.
#
# One file holds the network, its licence, the detector, the scaling and the calibration. Reading it executes nothing, so it can be sent to the
# computer at the machine.

# %%
from pathlib import Path
from tempfile import mkdtemp

folder = Path(mkdtemp())
monitor.save(folder / "machine.mimii")

# %% tags=["hide-input"]
from myst_nb import glue

from mimii_lib.pages import your_machine as page

lowest, window = monitor.calibration.smallest, monitor.window / monitor.rate
n_calibration = len(monitor.calibration.recordings)
glue("n_calibration", n_calibration, display=False)
glue("lowest", f"1/{n_calibration + 1} = {lowest:.3f}", display=False)
glue("window", f"{window:.3g}", display=False)
megabytes = (folder / "machine.mimii").stat().st_size / 1e6
facts = {
    "fitted on": f"{n_calibration} recordings, {monitor.about['seconds']:.0f} s in all",
    "hears": f"{window:.3g} s at a time, nothing above {monitor.rate / 2000:g} kHz",
    "lowest false-alarm rate": f"1/{n_calibration + 1} = {lowest:.1%}",
    "size of the file": f"{megabytes:.1f} MB",
}
page.facts("the model", facts)

# %% [markdown]
# ## 3. Check: does it work here?
#
# Recordings that the model has not seen answer this before anything else.
#
# ```bash
# mimii check machine.mimii --normal other_day --abnormal faults
# ```

# %%
result = monitor.check(unseen, faulty_files)


# %% tags=["hide-input"]
def percent(share):
    """Return a share with its interval as text."""
    return (
        f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})" if share else "–"
    )


n_normal, n_faulty = result.n_normal, result.n_abnormal
rows = {
    f"false alarms, of {n_normal} normal recordings": percent(result.false_alarms),
    f"detected, of {n_faulty} faulty recordings": percent(result.detections),
    "AUC": f"{result.auc.value:.3f} ({result.auc.low:.3f} to {result.auc.high:.3f})"
    if result.auc
    else "–",
    "verdict": "; ".join([result.verdict, *result.reasons]),
    "normal recordings differ": "; ".join(result.warnings) or "not noticeably",
}
glue("verdict", f"“{result.verdict}”", display=False)
glue("alpha", f"{result.alpha:.3g}", display=False)
page.facts(f"at a false-alarm rate of {result.alpha:.1%}", rows)

# %% [markdown]
# The intervals hold with a confidence of 95 %. The verdict, {glue:text}`verdict`, rests on them and not on the values: it is *works* only if the false-alarm rate is
# surely not far above the one asked for and the AUC surely 0.8 or more. Few recordings give wide intervals, and then the verdict is *cannot be told*, with how many
# recordings would tell.
#
# The verdict counts **p-values**. The p-value of a recording is about the share of recordings that score as high, of those of the calibration and itself. If normal
# sound stays what it was, p-values of normal recordings are spread about evenly from {glue:text}`lowest` to 1, whatever the system and the machine
# {cite:p}`vovk2015cross`. A recording is called anomalous if its p-value is at most the false-alarm rate $\alpha$, the grey line at
# {glue:text}`alpha`:

# %% tags=["hide-input"] mystnb={"image": {"alt": "p-values of the recordings on a logarithmic axis, a row for each group, with the false-alarm rate as a vertical line"}}
values = [score.p_value for score in result.scores]
groups = {"normal, unseen": values[:n_normal]}
if faulty_files:
    groups["faulty"] = values[n_normal:]
page.p_values(groups, result.alpha)

# %% [markdown]
# ## 4. Choose a threshold
#
# The threshold is the false-alarm rate: how many alarms without a fault are you ready to look after? Below {glue:text}`lowest` this model
# cannot decide; for 1 % it would need 99 recordings.

# %% tags=["hide-input"]
from mimii_lib.pages.tables import word_table

rows = []
for rate in sorted({lowest, 0.1, 0.2}):
    counts = [
        f"{sum(value <= rate for value in group)} of {len(group)}"
        for group in groups.values()
    ]
    rows.append([f"{rate:.1%}", *counts, f"{24 * rate:.1f}"])
heads = ["false-alarm rate", *groups, "false alarms a day, one recording an hour"]
word_table("Recordings that are called anomalous", heads, rows)

# %% [markdown]
# ## 5. Score
#
# ```bash
# mimii score machine.mimii new --alpha 0.1 --html page.html --normal recordings
# ```
#
# prints a line for each recording, and ends with exit code 0 if all are normal, 1 if one is anomalous, 2 if the input is bad. `--json` and `--csv`
# are for programs; `--html` writes one page with players, spectrograms and timelines, which needs no network. In Python:

# %%
suspect = monitor.score((faulty_files or unseen)[0])

# %% tags=["hide-input"]
bands = [
    f"{abs(band.deviation):.1f} standard deviations {'louder' if band.deviation > 0 else 'quieter'} from {band.low:,.0f} to {band.high:,.0f} Hz"
    for band in suspect.bands
]
start, end = suspect.moment
facts = {
    "recording": Path(suspect.path).name,
    "score": f"{suspect.score:.3g}",
    "p-value": f"{suspect.p_value:.3f}",
    "verdict": suspect.verdict,
    "when": f"most unusual from {start:.1f} to {end:.1f} s",
    "at which frequencies": "; ".join(bands) or "no band by itself",
    "nearest normal recording": suspect.nearest,
}
page.facts("the suspect", facts)

# %% [markdown]
# Time and frequencies are found by comparing levels of mel bands with the normal recordings. They are a hint where to listen, not how the system arrived at
# its score. A recording that is longer than {glue:text}`window` s is cut into windows of that length; its score is their mean.
#
# ## 6. Listen
#
# Hear the recording beside the normal one that it resembles most. An alarm that you cannot hear may still be right, but find out what it is before you
# stop a machine.

# %% tags=["hide-input"]
from mimii_lib.pages.miniature import sounds


def samples(path):
    """Return a recording as the model hears it."""
    return own_recordings.read(path, monitor.rate, monitor.channel).samples


nearest = next(path for path in to_fit if path.name == suspect.nearest)
pair = {
    "the suspect": samples(Path(suspect.path)),
    "the nearest normal recording": samples(nearest),
}
longest = min(map(len, pair.values())) / monitor.rate
sounds(
    pair,
    start=min(start, max(0, longest - 4)),
    seconds=min(4, longest),
    rate=monitor.rate,
)

# %% [markdown]
# ## 7. Watch
#
# A recording an hour finds slow wear. To notice a fault within seconds, let the model listen all the time: to a microphone (with the extra `live`), to a folder that recordings arrive in, or to
# raw samples from another program:
#
# ```bash
# mimii watch machine.mimii                     # the default microphone
# mimii watch machine.mimii /var/recordings     # a folder that fills up
# ffmpeg -i rtsp://camera/audio -f s16le -ac 1 -ar 16000 - |
#   mimii watch machine.mimii - --events alarms
# ```
#
# A window of {glue:text}`window` s is scored every second (`--hop`). A door that slams makes a window unusual; an alarm needs three of the last five (`--alarm 3/5`). The sound of an
# event is kept with ten seconds before and after it (`--events`). What happens is told in [lines of JSON](../book/api.md). Let us try it on a stream of normal recordings with faults in
# the middle:

# %%
import numpy as np

seconds = min(len(samples(path)) for path in unseen) / monitor.rate
n = int(np.ceil(2 * window / seconds))  # recordings as long as two windows
parts = [unseen[:n], (faulty_files or unseen)[:n], unseen[-n:]]
parts = [np.concatenate([samples(path) for path in part]) for part in parts]
stream = (32767 * np.concatenate(parts).clip(-1, 1)).astype("<i2")

# %%
import json
import subprocess
import sys

words = f"watch machine.mimii - --hop {window / 5:g} --after 0 --events alarms"
command = [sys.executable, "-m", "mimii_lib.cli", *words.split()]
watched = subprocess.run(command, input=stream.tobytes(), stdout=-1, cwd=folder)
lines = [json.loads(line) for line in watched.stdout.splitlines()]

# %% tags=["hide-input"] mystnb={"image": {"alt": "p-values of the windows over the time in the stream, with the time of the fault shaded and the events marked"}}
borders = np.cumsum([len(part) for part in parts]) / monitor.rate
page.timeline(lines, lines[0]["alpha"], fault=borders[:2] if faulty_files else None)

# %% tags=["remove-cell"]
events = [line for line in lines if line["kind"] == "event"]
places = " and ".join(
    f"{event['start']:.0f} to {event['end']:.0f} s" for event in events
)
heard = f"{len(events)} event{'s' * (len(events) != 1)}{f', from {places}' if events else ''}"
glue("events", heard, display=False)
glue("stream_alpha", f"{lines[0]['alpha']:.2g}", display=False)
glue("code", watched.returncode, display=False)
glue("stretch", f"{window / 0.1:.0f}", display=False)
glue("stretch_lowest", f"{window / lowest / 60:.1f}", display=False)
glue("three", f"{window / 0.1**3 / 3600:.1f}", display=False)

# %% [markdown]
# At the default of $\alpha$, here {glue:text}`stream_alpha` (the grey line), the watch told of {glue:text}`events`. Its exit code is {glue:text}`code`. A window that reaches into the fault is
# unusual, so an event begins up to a window before the fault; it ends when no three of the last five windows are unusual.
#
# Neighbouring windows share most of their sound, so they are unusual together. At $\alpha = 0.1$ a stretch of normal sound is unusual about every {glue:text}`stretch` s (the
# length of a window over $\alpha$), at this model's lowest rate about every {glue:text}`stretch_lowest` minutes. Windows that do not overlap are better evidence: with
# a hop of {glue:text}`window` s, `--alarm 3/3` has the chance $\alpha^3$ if the windows are independent, so once in {glue:text}`three` hours at $\alpha = 0.1$. The price is a
# later alarm.
#
# `drift` lines tell that windows without an event have come to score higher than the calibration: the machine runs in, the season or the microphone changes. Then fit
# again with new recordings, once you know that the machine is well.

# %% [markdown]
# ## What can go wrong
#
# **Another microphone.** Here is one that hears less of the high frequencies, in front of the same machine: the unseen normal recordings, filtered.

# %%
import soundfile
from scipy import signal

(folder / "other").mkdir()
for path in unseen:
    duller = signal.lfilter([1, 0.8], [1.8], samples(path))
    soundfile.write(folder / "other" / f"{path.stem}.wav", duller, monitor.rate)
other = monitor.check([folder / "other"])

# %% tags=["remove-cell"]
glue("before", f"{result.false_alarms.value:.0%}", display=False)
glue("after", f"{other.false_alarms.value:.0%}", display=False)
glue("warning", "; ".join(other.warnings) or "it does not warn", display=False)

# %% [markdown]
# The share of false alarms was {glue:text}`before` and is {glue:text}`after` with the other microphone, though the machine is the same and well. What `mimii check` says of
# it: {glue:text}`warning`. No threshold repairs that. Fit again with recordings from the new microphone.
#
# | what | how it shows | what to do |
# |---|---|---|
# | another microphone, gain or place | `check` warns, false alarms | keep it fixed; fit again after a change |
# | one long recording cut in pieces | few false alarms in your own test, many on the next day | separate recordings; check on another day |
# | wind, rain, speech, a fork-lift | single unusual windows, events in which you hear them | move or shield the microphone; N of M windows; include them in the normal recordings if they are usual |
# | automatic gain, noise suppression | recordings all alike, or a level that swells after a pause | switch them off; use a recorder, not a telephone's voice memo |
# | clipping | `fit` and `score` say so | turn the gain down |
# | a fault during fitting | the fault is normal | listen to the recordings with the highest scores before you fit |
# | a new load or product | drift | record it as well; fit again |
#
# ## When not to trust it
#
# - **No faulty recording was ever heard.** The false-alarm rate is known then, and what is detected is not.
# - **A silent fault.** A crack that makes no sound below half of the sample rate, or less than the noise around it, is not heard.
# - **A new cause of change.** Unusual is not faulty. The model cannot tell one from the other; you can, by listening.
# - **Few recordings.** The false-alarm rate of one model differs from the one asked for by chance, the more the fewer recordings it was fitted on.
# - **Safety.** Nothing here is certified. Use it where a missed fault would be noticed by something else, too.
#
# ## Exercise
#
# Why not cut one recording into many? Cut one normal recording into pieces of a second, fit on them, and check on pieces of other recordings. Compare with as
# many seconds from different recordings. (The system `mahalanobis` fits in a second.)


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
def cut(files, name, most):
    """Write pieces of a second, at most so many of each recording, and return their folder."""
    (pieces := folder / name).mkdir()
    for path in files:
        sound = samples(path)
        for number in range(min(most, len(sound) // monitor.rate)):
            piece = sound[number * monitor.rate : (number + 1) * monitor.rate]
            soundfile.write(
                pieces / f"{path.stem}_{number}.wav", piece, monitor.rate
            )
    return pieces


new = cut(unseen, "new", most=4)
few = int(
    np.ceil(10 / (len(samples(to_fit[0])) // monitor.rate))
)  # recordings with ten pieces
sources = {
    f"ten pieces of {few}": cut(to_fit[:few], "few", most=10),
    "a piece each of ten": cut(to_fit[:10], "many", most=1),
}
alarms = {}
for caption, pieces in sources.items():
    checked = Monitor.fit([pieces], system="mahalanobis").check([new], alpha=0.2)
    alarms[caption] = percent(checked.false_alarms)
page.facts("false alarms at 20 %", alarms)
