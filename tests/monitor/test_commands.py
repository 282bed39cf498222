"""The commands ``mimii fit``, ``mimii check`` and ``mimii score``: what they print, write and return."""

import csv
import json

import numpy as np
import pytest
import soundfile
from hum import RATE, SYSTEM, sound

from mimii_lib import Monitor
from mimii_lib.cli import main
from mimii_lib.errors import MimiiError


@pytest.fixture
def mimii(capsys):
    """Return a function that calls the command line and returns its exit code, output and errors."""

    def call(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


def one_sentence(errors):
    return errors.startswith("mimii: ") and errors.count("\n") == 1


def test_from_a_folder_to_a_verdict(mimii, normal, record, tmp_path):
    """Fit, check and score as a user types them; what is printed names band, window, counts and verdict."""
    model = tmp_path / "pump.mimii"
    code, out, errors = mimii("fit", normal, "-o", model, "--system", SYSTEM)
    assert (code, errors) == (0, "")
    assert "fitted on 20 recordings of 22 s in all" in out
    assert "hears up to 8 kHz, 1.1 s at a time" in out
    assert "20 recordings were scored by a fit without them, so p-values begin at 1/21 = 0.048" in out
    good, faulty = record(tmp_path / "good", range(100, 130)), record(tmp_path / "faulty", range(200, 230), fault=True)
    code, out, errors = mimii("check", model, "--normal", good, normal, "--abnormal", faulty)
    assert (code, out.splitlines()[-1]) == (0, "Verdict: works.")
    assert "of 30 normal recordings at 5.0%" in out and "detected: 100.0% (88.6% to 100.0%) of 30 abnormal" in out
    assert errors == "left out: 20 of 50 normal recordings, because the model was fitted on them\n"
    code, out, _ = mimii("score", model, faulty / "200.wav", good / "100.wav")
    assert code == 1
    first, second = out.splitlines()[-2:]
    assert "anomalous" in first and first.split("louder at ")[1].startswith("2")
    assert "normal" in second and "louder" not in second


def test_rows_for_other_programs(mimii, model, record, tmp_path):
    """--json and --csv hold a row for each recording, in a file or, alone, on the standard output."""
    folder = record(tmp_path / "x", range(300, 303))
    code, out, _ = mimii("score", model, folder, "--json", "-", "--csv", tmp_path / "rows.csv", "--alpha", "0.2")
    rows = json.loads(out)
    assert code == int(any(row["anomalous"] for row in rows))
    assert [row["path"] for row in rows] == [str(folder / f"{seed}.wav") for seed in range(300, 303)]
    assert {"path", "score", "p_value", "anomalous", "seconds", "windows"} <= {*rows[0]}
    assert rows[0]["windows"] == [
        {"start": 0, "end": 1.1} | {key: rows[0]["windows"][0][key] for key in ("score", "p_value")}
    ]
    with (tmp_path / "rows.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [float(row["score"]) for row in table] == [row["score"] for row in rows]


def test_alphas_that_cannot_be_decided(mimii, model, record, tmp_path):
    """Below 1/21 scoring says so, and a fault is undecided, which is not normal; checking refuses."""
    folder = record(tmp_path / "x", range(2), fault=True)
    code, out, errors = mimii("score", model, folder, "--alpha", "0.01")
    assert (code, out.count("undecided")) == (1, 2)
    assert "not decidable below 1/21 = 0.048" in errors
    code, _, errors = mimii("check", model, "--normal", folder, "--alpha", "0.01")
    assert (code, one_sentence(errors)) == (2, True)
    assert "fit on 99 and more" in errors


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["check", "{model}"], "name recordings that it has not seen with --normal"),
        (["check", "{folder}", "--alpha", "0.1"], "name recordings that it has not seen with --normal"),
        (["check", "{folder}", "--normal", "{folder}"], "expected a model file"),
        (["check", "{model}", "--normal", "{normal}"], "no recording that the model has not seen"),
        (["score", "{folder}", "{folder}"], "expected a model file"),
        (["score", "{model}", "{folder}/nowhere.wav"], "nowhere.wav: cannot be read (no such file)"),
        (["score", "{model}", "{folder}", "--alpha", "1.5"], "expected a false-alarm rate between 0 and 1"),
        (["score", "{model}", "{model}"], "cannot be read as a recording"),
        (["fit", "{folder}", "-o", "{folder}", "--system", "level"], "1 recording to fit on found"),
        (["fit", "{normal}", "-o", "{folder}", "--system", "level"], "cannot be written"),
        (["fit", "{normal}", "-o", "x", "--settings", "detectors.components=8"], "did you mean 'n_components'"),
        (["fit", "{normal}"], "the following arguments are required: -o/--output"),
    ],
)
def test_bad_input_is_one_sentence(mimii, model, normal, record, tmp_path, words, sentence):
    """Each ends with exit code 2 and one sentence that says what was found and what was expected."""
    folder = record(tmp_path / "x", range(900, 901))
    code, out, errors = mimii(*(word.format(model=model, normal=normal, folder=folder) for word in words))
    assert (code, out, one_sentence(errors)) == (2, "", True), errors
    assert sentence in errors


def test_normal_sound_that_has_changed_is_told(monitor, record, tmp_path):
    """Another gain, another microphone and another rate are named, and their false alarms are too many."""
    loud = monitor.check([record(tmp_path / "loud", range(400, 430), level=0.2)])
    assert loud.verdict == "does not work"
    assert any("12." in warning and "dB louder on average" in warning for warning in loud.warnings)
    assert any("do not trust p-values here" in warning for warning in loud.warnings)
    (dull := tmp_path / "dull").mkdir()
    for seed in range(500, 530):
        samples = sound(seed)
        soundfile.write(dull / f"{seed}.wav", (samples + np.roll(samples, 1)) / 2, RATE)
    assert any("dB quieter on average around" in text for text in monitor.check([dull]).warnings)
    fast = monitor.check([record(tmp_path / "fast", range(600, 630), rate=48_000)])
    assert any("recorded at 48000 Hz" in warning for warning in fast.warnings)


def test_verdicts_say_how_many_would_tell(monitor, record, tmp_path):
    """Few recordings cannot tell; without faulty ones nobody can; faults that are none do not work."""
    few, good = record(tmp_path / "few", range(700, 704)), record(tmp_path / "good", range(700, 730))
    check = monitor.check([few], [record(tmp_path / "faulty", range(3), fault=True)])
    assert check.verdict == "cannot be told"
    assert "4 normal recordings do not tell the false-alarm rate well; about " in check.reasons[0]
    check = monitor.check([good])
    assert (check.verdict, check.auc, check.detections, check.warnings) == ("cannot be told", None, None, ())
    assert "without faulty recordings" in check.reasons[0]
    check = monitor.check([good], [record(tmp_path / "same", range(800, 840))])
    assert check.verdict == "does not work"
    assert check.auc.low < 0.5 < check.auc.high < 0.8
    with pytest.raises(MimiiError, match=r"few/700\.wav: the same recording as .*good/700\.wav"):
        monitor.check([good], [few])


def test_the_names_that_the_package_gives():
    """``from mimii_lib import Monitor`` needs no more than that."""
    from mimii_lib.monitor.model import Monitor as its_own

    assert Monitor is its_own
