"""Watching: whatever arrives and however it ends, alarms come in time and events are kept whole."""

import json
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
import soxr
from scipy.stats import norm

from mimii_lib.cli import main
from mimii_lib.data.miniature import clip_parts
from mimii_lib.data.streams import PART, Block, arriving, prepared
from mimii_lib.errors import MimiiError
from mimii_lib.monitor.model import Monitor
from mimii_lib.monitor.watch import Rule, Watch
from mimii_lib.run.calibration import Calibration

RATE = 16_000
HOP = RATE // 2


def fan(index, condition="normal", machine="fan"):
    """Return ten seconds of a machine, a clip that no other index has."""
    return np.add(*clip_parts(machine, "id_00", condition, index, snr=6)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a model file: windows of one second, fitted on 24 recordings of a fan."""
    folder = tmp_path_factory.mktemp("watch")
    for index in range(24):
        start = 4 * RATE * (index % 2)
        soundfile.write(folder / f"{index:02d}.wav", fan(index // 2)[start : start + 2 * RATE], RATE)
    Monitor.fit([folder], system="mahalanobis", window=1).save(folder / "fan.mimii")
    return folder / "fan.mimii"


@pytest.fixture(scope="module")
def monitor(model):
    return Monitor.load(model)


@pytest.fixture(scope="module")
def stream():
    """Return 10 s of the fan, 5 s of a pump, 10 s of the fan, as 16 bits hold them."""
    sound = np.concatenate([fan(40), fan(0, machine="pump")[: 5 * RATE], fan(41)])
    return (sound * 32768).round().astype(np.int16)


def watched(monitor, sound, cuts=(), **options):
    """Return what is told of samples, int16 or float32, that arrive in pieces."""
    lines = []
    watch = Watch(monitor, lines.append, **{"alpha": 0.07, "hop": 1, **options})
    sound = sound / np.float32(32768) if sound.dtype == np.int16 else sound
    for piece in np.split(sound, cuts):
        watch.hear(piece)
    watch.close("end")
    return lines


def of_kind(lines, *kinds):
    return [line for line in lines if line["kind"] in kinds]


def test_an_alarm_comes_with_the_nth_anomalous_window(monitor, stream):
    """It comes N hops after the fault begins at the latest, and not before; its event covers the fault."""
    lines = watched(monitor, stream, hop=0.5)
    alarm, event = of_kind(lines, "alarm", "event")
    assert 10 < alarm["at"] <= 10 + 1 + 3 * 0.5
    assert event["start"] == alarm["start"] <= 10 and 15 <= event["end"] <= 15 + 1 + 5 * 0.5
    windows = of_kind(lines, "window")
    assert [window["end"] for window in windows] == list(np.arange(1, 25.25, 0.5))
    assert event["score"] == max(window["score"] for window in windows)
    one_by_one = monitor.window_scores(
        np.stack([stream[start : start + RATE] for start in (0, 3 * HOP)]) / np.float32(32768)
    )
    assert [windows[0]["score"], windows[3]["score"]] == pytest.approx(one_by_one)


@pytest.mark.parametrize("rule", ["1/1", "2/9", "4/4"])
def test_the_rule_is_kept(monitor, stream, rule):
    """An alarm stands exactly where N of the last M windows are anomalous and no event is under way."""
    needed, of = parsed = Rule.parse(rule)
    lines = watched(monitor, stream, rule=parsed, after=0)
    anomalous = [window["anomalous"] for window in of_kind(lines, "window")]
    holds = [sum(anomalous[max(0, end - of) : end]) >= needed for end in range(1, len(anomalous) + 1)]
    begins = [now and not before for before, now in zip([False, *holds], holds, strict=False)]
    assert [line["at"] for line in of_kind(lines, "alarm")] == [1 + place for place in np.flatnonzero(begins)]
    assert sum(begins) == len(of_kind(lines, "event")) > 0


@pytest.mark.parametrize("rule", ["", "0/3", "4/3", "3", "3/5/7", "-1/2", "a/b", "1/100"])
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(MimiiError, match="expected N/M"):
        Rule.parse(rule)


def test_pieces_do_not_matter(monitor, stream, tmp_path):
    """However the sound is cut on its way, the same is told and the same is kept."""
    reports, kept = [], []
    for number, cuts in enumerate([(), range(1000, len(stream), 4321), [1, 2, 3, HOP + 1, len(stream) - 1]]):
        lines = watched(monitor, stream, [*cuts], events=tmp_path / str(number), before=2, after=1.3)
        reports.append([{name: line[name] for name in line.keys() - {"time", "path"}} for line in lines])
        kept.append([soundfile.read(path, dtype="int16")[0].tobytes() for path in (tmp_path / str(number)).iterdir()])
    assert reports[0] == reports[1] == reports[2]
    assert kept[0] == kept[1] == kept[2] and len(kept[0]) == 1


def sound_of(lines):
    """Return the samples of the files that were kept, and where the first one begins, in samples."""
    saved = of_kind(lines, "saved")
    sounds = [soundfile.read(line["path"], dtype="int16") for line in saved]
    for line, (sound, rate) in zip(saved, sounds, strict=True):
        assert len(sound) == round((line["end"] - line["start"]) * rate)
    assert [line["end"] for line in saved[:-1]] == [line["start"] for line in saved[1:]]
    return np.concatenate([sound for sound, _ in sounds]), round(saved[0]["start"] * sounds[0][1])


@pytest.mark.parametrize("before, after", [(0, 0), (3, 2), (60, 600)])
def test_an_event_is_kept_whole(monitor, stream, tmp_path, before, after):
    """Its files hold the samples as they came, with those before and after it, as far as there are any."""
    lines = watched(monitor, stream, events=tmp_path, before=before, after=after)
    event = of_kind(lines, "event")[0]
    sound, start = sound_of(lines)
    assert (sound == stream[start : start + len(sound)]).all()
    assert start == max(0, round((event["start"] - before) * RATE))
    end = min(len(stream), (event["end"] + after) * RATE)
    assert end <= start + len(sound) <= end + RATE
    assert len([*tmp_path.iterdir()]) == len(of_kind(lines, "saved")) == 1


def test_a_long_event_goes_on_in_another_file(monitor, tmp_path):
    """No file, and nothing in memory, grows with the length of an event; no sample is lost between the files."""
    noise = np.random.default_rng(0).integers(-9000, 9000, (PART + 20) * RATE, dtype=np.int16)
    lines = watched(monitor, noise, hop=10, rule=Rule(1, 1), before=0, events=tmp_path)
    sound, start = sound_of(lines)
    assert len(of_kind(lines, "saved")) == 2 and len(of_kind(lines, "event")) == 1
    assert start == 0 and (sound == noise).all()


def test_what_cannot_be_scored_is_a_gap(monitor, stream):
    """No window reaches into faulty samples or silence; each gap is told once, and so is its end."""
    sound = stream[: 20 * RATE].astype(np.float32) / 32768
    sound[5 * RATE : 8 * RATE] = 0
    sound[12 * RATE : 12 * RATE + 3] = np.nan
    lines = []
    watch = Watch(monitor, lines.append, alpha=0.07, hop=0.5)
    for block in prepared((Block(piece[:, None]) for piece in np.split(sound, 40)), 0, RATE, RATE):
        watch.hear(*block)
    gaps = of_kind(lines, "gap")
    assert [gap["state"] for gap in gaps] == ["begins", "ends"] * 2
    assert "silence" in gaps[0]["reason"] and "no numbers" in gaps[2]["reason"]
    windows = of_kind(lines, "window")
    assert not any(window["start"] >= 5 and window["end"] <= 8 for window in windows)
    assert not any(window["start"] < 12.5 and window["end"] > 12 for window in windows)
    assert any(window["start"] == 12.5 for window in windows)


def test_a_gap_that_lasts_ends_the_event(monitor, stream, tmp_path):
    """A microphone that dies in the middle of an event does not record for ever."""
    lines = []
    watch = Watch(monitor, lines.append, alpha=0.07, hop=0.5, events=tmp_path, after=2)
    watch.hear(stream[: 14 * RATE] / np.float32(32768))
    for _ in range(20):
        watch.hear(np.zeros(HOP, np.float32), "no numbers")
    assert len(of_kind(lines, "event")) == len(of_kind(lines, "saved")) == 1
    assert of_kind(lines, "saved")[0]["end"] == 16


def test_drift_is_told_from_an_anomaly(monitor):
    """Scores that rise a little are drift, high scores an alarm, and normal scores neither."""

    class Scores:
        """A monitor whose windows have the scores that are sent to it."""

        rate = window = 100
        calibration = Calibration(*[norm.ppf((np.arange(40) + 0.5) / 40)] * 2)

        def window_scores(self, samples):
            return samples[:, 0].astype(np.float64)

    def transitions(scores):
        sound = np.random.default_rng(1).standard_normal((len(scores), 100)).astype(np.float32)
        sound[:, 0] = scores
        lines = watched(Scores(), sound.ravel(), hop=1, alpha=0.025)
        return [(line["kind"], line.get("state")) for line in of_kind(lines, "drift", "alarm")]

    normal = np.random.default_rng(2).standard_normal(300).clip(None, 2.2)
    assert transitions(normal) == []
    assert transitions(np.concatenate([normal, (normal + 1).clip(None, 2.2)])) == [("drift", "begins")]
    assert transitions(np.concatenate([normal, (normal + 1).clip(None, 2.2), normal])) == [
        ("drift", "begins"),
        ("drift", "ends"),
    ]
    assert transitions(np.concatenate([normal, normal[:100] + 9, normal])) == [("alarm", None)]


def test_falling_behind_is_told_until_it_has_caught_up(monitor):
    lines = []
    watch = Watch(monitor, lines.append, alpha=0.07)
    for seconds in [1.5] * 9 + [1.9] * 3 + [0.1] * 20:
        watch.worked(seconds, sound=1.0)
    assert [line["state"] for line in of_kind(lines, "behind")] == ["begins", "ends"]


def test_a_disk_that_is_full_does_not_end_the_watch(monitor, stream, tmp_path):
    """The alarm is told, and that its sound is not kept, once."""
    (tmp_path / "events").write_text("in the way")
    lines = watched(monitor, stream, events=tmp_path / "events")
    saved = of_kind(lines, "saved")
    assert [line["path"] for line in saved] == [None] and "events" in saved[0]["reason"]
    assert len(of_kind(lines, "alarm", "event", "end")) == 3


@pytest.fixture
def mimii(capfd, monkeypatch, model):
    """Return a function that watches raw samples on standard input; it returns exit code, lines and errors."""

    def call(content, *options, model=model):
        reading, writing = os.pipe()
        writer = threading.Thread(target=lambda: (os.write(writing, content), os.close(writing)))
        with os.fdopen(reading, "rb") as file:
            monkeypatch.setattr(sys, "stdin", file)
            os.set_blocking(writing, True)
            writer.start()
            code = main(["watch", str(model), "-", *map(str, options)])
        writer.join()
        output, errors = capfd.readouterr()
        return code, [json.loads(line) for line in output.splitlines()], errors

    return call


def test_standard_input_is_watched(mimii, stream, tmp_path):
    """Any format, rate and number of channels gives the same alarms, also where the last sample is cut in half."""
    twice = np.stack([stream, np.zeros_like(stream)], axis=1)
    floats = soxr.resample(stream / np.float32(32768), RATE, 24_000).astype("<f4")
    begun = []
    for content, *options in (
        (stream.tobytes() + b"\1",),
        (twice.tobytes(), "--channels", 2),
        (floats.tobytes(), "--format", "f32le", "--rate", 24_000),
    ):
        code, lines, errors = mimii(content, "--hop", 0.5, "--alpha", 0.07, "--events", tmp_path, *options)
        assert (code, errors) == (1, "")
        assert [line["kind"] for line in lines if line["kind"] != "window"] == [
            "start",
            "alarm",
            "saved",
            "event",
            "end",
        ]
        assert lines[-1]["at"] == pytest.approx(25) and lines[-1]["alarms"] == 1
        begun.append(of_kind(lines, "alarm")[0]["start"])
    assert len({*begun}) == 1
    code, lines, _ = mimii(stream[: 10 * RATE].tobytes(), "--quiet")
    assert code == 0 and [line["kind"] for line in lines] == ["start", "end"]


@pytest.mark.parametrize(
    "content, options, expected",
    [
        (b"", [], "without a window"),
        (b"\1", [], "without a window"),
        (bytes(8000), [], "0.2 s"),
        (bytes(80_000), [], "without a window"),  # silence
        (b"RIFF" + bytes(80_000), [], "a WAV file"),
        (b"fLaC" + bytes(80_000), [], "a FLAC file"),
        (b"\xff" * 80_000, ["--format", "f32le"], "without a window"),  # not numbers
        (b"", ["--alarm", "5/3"], "N/M"),
        (b"", ["--alpha", "0.01"], "0.04"),
        (b"", ["--alpha", "nan"], "--alpha"),
        (b"", ["--hop", "0"], "--hop"),
        (b"", ["--hop", "3"], "--hop"),
        (b"", ["--before", "-1"], "--before"),
        (b"", ["--rate", "8000"], "--rate"),
        (b"", ["--channels", "0"], "--channels"),
        (b"", ["--format", "u8"], "s16le"),
    ],
)
def test_what_cannot_be_watched_is_refused(mimii, content, options, expected):
    """The exit code is 2, and the error one sentence."""
    code, lines, errors = mimii(content, *options)
    assert code == 2 and errors.startswith("mimii: ") and errors.count("\n") == 1 and expected in errors
    assert not of_kind(lines, "window", "alarm")


def test_what_is_no_source_is_refused(model, capsys, monkeypatch, tmp_path):
    """A name of nothing, a file, a standard input that is closed, events where no folder can be."""
    monkeypatch.setattr(sys, "stdin", None)
    for words, expected in (
        (["no such place"], "no such place"),
        ([str(model)], "mimii score"),
        (["-"], "piped"),
        ([str(tmp_path), "--events", str(model)], "fan.mimii"),
    ):
        assert main(["watch", str(model), *words]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith("mimii: ") and errors.count("\n") == 1 and expected in errors


def test_recordings_that_arrive_are_scored_once_they_are_complete(tmp_path):
    """Not while they are written, each once, and again only where one is written anew."""
    half, whole, seen, looks = tmp_path / "a.wav", tmp_path / "b.wav", [], 0
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.wav").write_text("")
    whole.write_bytes(b"22")

    def stopped():
        """Go on writing one file, and the other when both have been seen."""
        nonlocal looks
        looks += 1
        if looks < 10:
            half.write_bytes(b"1" * looks)
        if len(seen) == 2 and whole.stat().st_size == 2:
            whole.write_bytes(b"333")
        return len(seen) == 3

    for path in arriving(tmp_path, stopped, settle=0.3):
        seen += [(path.name, path.stat().st_size)]
    assert seen == [("b.wav", 2), ("a.wav", 9), ("b.wav", 3)]


def test_a_signal_in_the_middle_of_an_event_loses_nothing(model, stream, tmp_path):
    """The event is kept as far as it has come, and told; nothing else is left."""
    options = ["--hop", "0.5", "--alpha", "0.07", "--events", tmp_path / "events"]
    command = [sys.executable, "-m", "mimii_lib.cli", "watch", model, "-", *options]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(stream[: 13 * RATE].tobytes())
    process.stdin.flush()
    lines = []
    while not lines or lines[-1]["kind"] != "window" or lines[-1]["end"] < 13:
        lines.append(json.loads(process.stdout.readline()))
    process.terminate()
    output, errors = process.communicate(timeout=60)
    lines += map(json.loads, output.splitlines())
    assert (process.returncode, errors) == (1, b"")
    assert lines[-1]["kind"] == "end" and lines[-1]["reason"] == "SIGTERM"
    sound, start = sound_of(lines)
    assert start + len(sound) == 13 * RATE and (sound == stream[start : 13 * RATE]).all()
    assert [str(path) for path in (tmp_path / "events").iterdir()] == [line["path"] for line in of_kind(lines, "saved")]
    assert len(of_kind(lines, "event")) == 1


def test_a_folder_is_watched(model, stream, tmp_path):
    """Recordings count as windows; one that cannot be read is told, and is no end."""
    for number, start in enumerate([0, 3, 6, 10, 11, 13]):
        soundfile.write(tmp_path / f"{number}.wav", stream[start * RATE : (start + 2) * RATE], RATE)
        os.utime(tmp_path / f"{number}.wav", (number, number))
    (tmp_path / "7.wav").write_bytes(b"%PDF-1.4")
    command = [sys.executable, "-m", "mimii_lib.cli", "watch", model, tmp_path, "--alarm", "2/3", "--alpha", "0.07"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    lines = []
    while not of_kind(lines, "gap"):
        lines.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    lines += map(json.loads, output.splitlines())
    assert (process.returncode, errors) == (1, b"")
    assert [window["path"] for window in of_kind(lines, "window")] == [str(tmp_path / f"{n}.wav") for n in range(6)]
    assert [window["anomalous"] for window in of_kind(lines, "window")] == [False] * 3 + [True] * 3
    alarm, event = of_kind(lines, "alarm", "event")
    assert lines[-1]["reason"] == "SIGINT"
    assert alarm["path"] == event["path"] == str(tmp_path / "3.wav") and event["last"] == str(tmp_path / "5.wav")
    assert "7.wav" in of_kind(lines, "gap")[0]["reason"]
