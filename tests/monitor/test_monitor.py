"""A monitor of one's own machine: what it tells, how it is calibrated, and what it refuses."""

import numpy as np
import pytest
import soundfile
from hum import RATE, SYSTEM, sound

from mimii_lib import Monitor
from mimii_lib.data.own_recordings import cut, from_array
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import auc
from mimii_lib.run.calibration import calibrate
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import Imaging, Settings


def write(folder, samples, name="x.wav", rate=RATE, **how):
    soundfile.write(folder / name, samples, rate, **how)
    return folder / name


def test_a_fault_is_told_from_normal_sound_and_located(monitor, record, tmp_path):
    """A whistle at 3 kHz in the second half has the smallest p-value; band and moment are those of the whistle."""
    for path in record(tmp_path, range(100, 103), fault=True).iterdir():
        score = monitor.score(path)
        assert score.anomalous
        assert score.p_value == monitor.calibration.smallest == pytest.approx(1 / 21)
        assert score.bands[0].low < 3000 < score.bands[0].high
        assert score.bands[0].deviation > 2
        assert 0.5 < sum(score.moment) / 2 < 1.1
        assert score.nearest in monitor.about["names"]
    assert not monitor.score(sound(200), RATE).anomalous


def test_false_alarms_are_as_many_as_asked_for():
    """New normal sounds are anomalous at alpha 0.1 in the range of the binomial distribution, over 20 fits."""
    random, alarms, rate = np.random.default_rng(0), [], 8_000
    scorer = Scorer("level", Settings(imaging=Imaging(sample_rate=rate)))
    for _ in range(20):
        levels = random.lognormal(-3, 0.3, (50, 1, 1))
        windows = (levels * random.standard_normal((50, 1, rate))).astype(np.float32)
        calibration = calibrate(scorer, list(windows[:29]))
        alarms += [*(calibration.p_values(scorer.scores(windows[29:, 0])) <= 0.1)]
    assert len(alarms) == 420
    assert 0.06 <= np.mean(alarms) <= 0.14


def test_held_back_scores_are_those_of_new_sounds(monitor, record, tmp_path):
    """The scores of held-back recordings are like those of new ones, and higher than of recordings that were learnt."""
    new = [monitor.score(path).score for path in record(tmp_path, range(300, 330)).iterdir()]
    learnt = [monitor.score(sound(seed)).score for seed in range(20)]
    assert np.mean(learnt) < 0.8 * np.mean(monitor.calibration.recordings)
    assert abs(np.median(monitor.calibration.recordings) - np.median(new)) < np.std(monitor.calibration.recordings)


def test_a_system_of_the_paper_is_calibrated_by_recordings_that_are_held_back_for_good():
    """The scale of an OC-SVM's scores depends on the number of patches: a third calibrates the fit on the others."""
    scorer = Scorer("squeezenet1_1_random/oc-svm")
    sounds = np.stack([sound(seed) for seed in range(9)])
    calibration = calibrate(scorer, list(sounds[:, None]))
    assert calibration.recordings == pytest.approx(np.sort(scorer.scores(sounds[::3])))


def test_what_cannot_be_decided_is_not_called_normal(monitor):
    """Below 1 / (n + 1) a fault is undecided; a sound that is not the most unusual one is normal."""
    fault, plain = sound(100, fault=True), sound(202)
    assert monitor.score(fault, alpha=0.01).anomalous is None
    assert monitor.score(plain, alpha=0.01).anomalous is False
    assert monitor.score(fault, alpha=0.05).anomalous is True
    with pytest.raises(MimiiError, match="alpha"):
        monitor.score(plain, alpha=0)


def test_long_recordings_have_a_timeline(monitor):
    """Three windows cover 3.3 s; the fault is in the last one, and the recording's score is the windows' mean."""
    score = monitor.score(np.concatenate([sound(400), sound(401), sound(402, fault=True)]))
    times = [(round(window.start, 3), round(window.end, 3)) for window in score.windows]
    assert times == [(0, 1.1), (1.1, 2.2), (2.2, 3.3)]
    assert np.argmax([window.score for window in score.windows]) == 2
    assert score.moment[0] > 2.2
    assert score.score == pytest.approx(np.mean([window.score for window in score.windows]))


@pytest.mark.parametrize(("length", "windows"), [(0.98, 0), (1.0, 1), (1.2, 1), (1.3, 2), (2.2, 2), (2.5, 3)])
def test_lengths_that_are_not_whole_windows(monitor, length, windows):
    """Up to a tenth of a window may be missing or left over; the last window ends with the recording."""
    samples = sound(0, seconds=length)
    if not windows:
        with pytest.raises(MimiiError, match=r"0\.98 s found, the model hears 1\.10 s"):
            monitor.score(samples)
        return
    score = monitor.score(samples)
    assert len(score.windows) == windows
    assert 0 <= score.seconds - score.windows[-1].end < 0.11 + 1e-6


def test_formats_rates_and_channels(monitor, record, tmp_path):
    """The same sound in another format, at another rate or on the channel that is named has nearly the same score."""
    samples = sound(500)
    expected = monitor.score(samples)
    assert monitor.score(write(tmp_path, samples, "x.flac", subtype="PCM_24")).score == pytest.approx(
        expected.score, rel=1e-3
    )
    for name in ("x.ogg", "x.mp3"):
        assert np.isfinite(monitor.score(write(tmp_path, np.tile(samples, 2), name)).score)
    tones = {rate: 0.1 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate) for rate in (RATE, 48_000)}
    by_rate = [monitor.spectra.compare(*windows(monitor, tone, rate))[0] for rate, tone in tones.items()]
    assert by_rate[0][:50] == pytest.approx(by_rate[1][:50], abs=0.5)
    second = Monitor(monitor.scorer, monitor.calibration, monitor.spectra, {**monitor.about, "channel": 1})
    assert second.score(np.stack([np.zeros_like(samples), samples], axis=1)).score == expected.score


def test_arrays_that_are_no_sound(monitor):
    """Shapes, types and rates that no sound has are refused; 16-bit samples are the same as floating-point ones."""
    samples = sound(0)
    for array, rate in [(np.zeros((2, 2, 2)), RATE), (None, RATE), (["a"], RATE), (samples, 0), (samples, 0.5)]:
        with pytest.raises(MimiiError, match="the array: found .*expected samples within ±1"):
            monitor.score(array, rate)
    with pytest.raises(MimiiError, match="the array: holds a sample of "):
        monitor.score(32768 * samples)
    whole = (samples * 32768).round()
    assert monitor.score(whole.astype(np.int16)).score == monitor.score(whole / 32768).score


def windows(monitor, samples, rate):
    cuts, starts = cut(from_array(samples, rate, monitor.rate, 0), monitor.window)
    return cuts, starts / monitor.rate


def test_the_lowest_rate_is_watched_and_lower_ones_are_refused(record, tmp_path):
    """Recordings at 16 and 44.1 kHz are heard at 16 kHz; --rate watches more; a recording below is refused."""
    sentences = []
    record(tmp_path / "n", range(6))
    record(tmp_path / "n", range(6, 12), rate=44_100)
    fitted = Monitor.fit([tmp_path / "n"], system=SYSTEM, say=sentences.append)
    assert fitted.rate == 16_000
    (sentence,) = sentences
    assert "44100 Hz are resampled to 16000 Hz" in sentence
    with pytest.raises(MimiiError, match="sample rate is 8000 Hz, expected at least 16000 Hz"):
        fitted.score(sound(0, rate=8_000), 8_000)
    wide = Monitor.fit([record(tmp_path / "w", range(6), rate=44_100)], system=SYSTEM, rate=44_100)
    assert (wide.rate, wide.spectra.bands(np.full(64, 3.0))[0].high) == (44_100, pytest.approx(22_050))
    assert Monitor.fit([record(tmp_path / "low", range(6), rate=8_000)], system=SYSTEM).rate == 8_000


def test_clipped_recordings_are_named_and_loud_ones_are_not(record, tmp_path):
    """A recording whose peaks are cut off is named; a loud sine is not."""
    folder, sentences = record(tmp_path / "n", range(6)), []
    write(folder, np.clip(20 * sound(7), -1, 1), "clipped.wav")
    write(folder, np.sin(2 * np.pi * 50 * np.arange(2 * RATE) / RATE), "sine.wav")
    Monitor.fit([folder], system=SYSTEM, say=sentences.append)
    (sentence,) = sentences
    assert "clipped.wav: clipped (" in sentence


def silence(folder):
    write(folder, np.full(RATE * 2, 0.3), "x.wav")


def not_a_number(folder):
    write(folder, np.append(sound(0), np.nan), "x.wav", subtype="FLOAT")


def renamed_pdf(folder):
    (folder / "x.wav").write_bytes(b"%PDF-1.7\n" + bytes(1000))


def two_channels(folder):
    write(folder, np.stack([sound(30)] * 2, axis=1), "000.wav")


ADDED = {
    "silence": (silence, "x.wav: silent; look at the microphone", {}),
    "not a number": (not_a_number, "x.wav: holds samples that are not finite numbers", {}),
    "renamed PDF": (renamed_pdf, "x.wav: cannot be read as a recording", {}),
    "empty file": (lambda folder: (folder / "x.flac").touch(), r"x.flac: cannot be read .* \(0 bytes\)", {}),
    "rate too low": (lambda folder: write(folder, sound(0), rate=4_000), "x.wav: sample rate is 4000 Hz, exp", {}),
    "too short": (lambda folder: write(folder, sound(0)[:8000]), "x.wav: 0.50 s found, expected at least 1 s", {}),
    "a copy": (lambda folder: write(folder, sound(0)), "x.wav: the same recording as .*000.wav; leave one", {}),
    "a copy as FLAC": (
        lambda folder: write(folder, soundfile.read(folder / "000.wav")[0], "x.flac"),
        "x.flac: the same recording as .*000.wav",
        {},
    ),
    "no such channel": (two_channels, "000.wav: has 2 channels, so no channel 5", {"channel": 5}),
    "window too short": (two_channels, "window: found 0.5 s, expected 1 to 60 s", {"window": 0.5}),
    "no window": (two_channels, "window: found nan s, expected 1 to 60 s", {"window": float("nan")}),
    "unknown channel": (two_channels, "channel: found left, expected a number from 0, or mean", {"channel": "left"}),
    "window too long": (two_channels, "1.10 s found, the model hears 3.00 s at a time", {"window": 3.0}),
    "unknown system": (two_channels, "'ensembel' is not known.*did you mean 'ensemble'", {"system": "ensembel"}),
    "rate below all": (two_channels, "rate: found 4000 Hz, expected at least 8000 Hz", {"rate": 4_000}),
    "rate above all": (two_channels, "sample rate is 16000 Hz, expected at least 44100 Hz", {"rate": 44_100}),
}


@pytest.mark.parametrize("name", ADDED)
def test_what_cannot_be_fitted_on_is_one_sentence(name, record, tmp_path):
    """A recording or an option that cannot be used is named, with what was expected instead."""
    add, sentence, options = ADDED[name]
    add(record(tmp_path / "n", range(6)))
    with pytest.raises(MimiiError, match=sentence) as caught:
        Monitor.fit([tmp_path / "n"], **{"system": SYSTEM} | options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["silence", "not a number", "renamed PDF", "rate too low", "too short", "a copy"])
def test_what_cannot_be_used_is_skipped_where_that_is_asked_for(name, record, tmp_path):
    """The other recordings are fitted on, and the one that is skipped is named."""
    add = ADDED[name][0]
    add(record(tmp_path / "n", range(6)))
    sentences = []
    fitted = Monitor.fit([tmp_path / "n"], system=SYSTEM, unreadable="skip", rate=RATE, say=sentences.append)
    assert sorted(fitted.about["names"]) == [f"{number:03d}.wav" for number in range(6)]
    (skipped,) = sentences
    assert skipped.startswith("skipped: ")


def test_folders_without_enough_recordings(record, tmp_path):
    """No folder, an empty one, one with folders only, one recording, and recordings that are all alike."""
    (tmp_path / "empty").mkdir()
    record(tmp_path / "above" / "normal", range(6))
    tone = 0.1 * np.sin(2 * np.pi * 100 * np.arange(2 * RATE) / RATE)
    (tmp_path / "alike").mkdir()
    for number in range(8):
        write(tmp_path / "alike", tone + 1e-7 * (np.arange(2 * RATE) == number), f"{number}.wav", subtype="FLOAT")
    expected = {
        "nowhere": "nowhere: cannot be read .no such file",
        "empty": "empty: holds no recordings; expected files that end in .wav",
        "above": "above: holds no recordings, only normal; expected .* name the folder that holds them",
        "one": "one: 1 recording to fit on found, expected at least 5",
        "alike": "wav and 7 others are all alike",
    }
    record(tmp_path / "one", range(1))
    for folder, sentence in expected.items():
        with pytest.raises(MimiiError, match=sentence):
            Monitor.fit([tmp_path / folder], system=SYSTEM)


def test_a_real_machine(shared):
    """On recordings of a user, half of which are fitted on, faults have higher scores, and alarms are few."""
    folder = shared / "real_own" / "park"
    if not folder.is_dir():
        pytest.skip("needs a user's recordings")
    normal, abnormal = (sorted((folder / label).iterdir()) for label in ("normal", "abnormal"))
    fitted = Monitor.fit(normal[::2], system=SYSTEM)
    check = fitted.check(normal, abnormal, alpha=0.1)
    assert (check.n_normal, check.n_abnormal, check.verdict) == (17, 17, "works")
    assert check.auc.value > 0.85
    assert check.false_alarms.low <= 0.1
    anomalous = [*[False] * 17, *[True] * 17]
    assert check.auc.value == pytest.approx(auc(anomalous, [score.score for score in check.scores]))
