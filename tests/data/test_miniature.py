"""The miniature: MIMII's tree, synthesised from simple physics, the same for the same seed."""

import json
from collections import Counter
from functools import cache

import miniature_severity
import numpy as np
import pytest
import soundfile
from full_size import make_full_size
from kills import killed
from scipy import signal, stats

from mimii_lib import paper
from mimii_lib.data.fault_level import fault_level
from mimii_lib.data.miniature import clip_parts, make_miniature
from mimii_lib.data.synthesis import FAULTS, MODELS, SAMPLE_RATE, SAMPLES, Fault
from mimii_lib.errors import MimiiError

MACHINES, IDS = paper.MACHINES, paper.IDS
RECORD = json.loads(miniature_severity.RECORD.read_text())["faults"]
SETTINGS = {"normal": 2, "abnormal": 1, "seed": 3, "machines": ["fan", "valve"]}


def clip(*name, **how):
    return np.add(*clip_parts(*name, **how))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "miniature"
    make_miniature(folder, **SETTINGS)
    return folder


def test_a_clip_depends_on_its_name_and_seed_alone():
    """The same name and seed give the same bits; another machine, ID, condition, number or seed another clip."""
    names = [("fan", "id_00", "normal", 0), ("fan", "id_00", "normal", 1), ("fan", "id_00", "abnormal", 0)]
    names += [("fan", "id_02", "normal", 0), ("pump", "id_00", "normal", 0)]
    clips = [*(clip(*name) for name in names), clip(*names[0], seed=1)]
    assert np.array_equal(clips[0], clip(*names[0]))
    assert np.abs(np.corrcoef(clips) - np.eye(len(clips))).max() < 0.9


@pytest.mark.parametrize("machine", MACHINES)
def test_snr_is_the_power_of_the_machine_over_that_of_the_noise(machine):
    """The SNR sets the level of the noise and nothing else."""
    parts = {snr: clip_parts(machine, "id_02", "abnormal", 5, snr=snr) for snr in (-6, 0)}
    for snr, (sound, noise) in parts.items():
        assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
        assert np.array_equal(sound, parts[0][0])
        assert noise == pytest.approx(parts[0][1] * 10 ** (-snr / 20))


@pytest.mark.parametrize(("machine", "machine_id"), FAULTS)
def test_clips_are_as_loud_as_mimiis(machine, machine_id):
    """Clips have an RMS of about 0.011 at -6 dB; one that would pass full scale is attenuated as a whole."""
    sound = clip(machine, machine_id, "abnormal", 7)
    assert (sound.shape, sound.dtype) == ((SAMPLES,), np.float64)
    assert 0.008 < np.sqrt(np.mean(sound**2)) < 0.015
    sound, noise = clip_parts(machine, machine_id, "normal", 0, snr=-60)
    assert np.abs(sound + noise).max() == pytest.approx(0.98)
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(-60)


@pytest.mark.parametrize("machine_id", IDS)
def test_fan_sounds_at_blade_pass_frequency(machine_id):
    """The fan's spectrum stands out at multiples of blades times shaft speed."""
    fan = MODELS["fan", machine_id]
    frequency, power = signal.welch(clip_parts("fan", machine_id, "normal", 0)[0], SAMPLE_RATE, nperseg=SAMPLE_RATE)
    for harmonic in (1, 2):
        distance = np.abs(frequency - harmonic * fan.shaft * fan.blades)
        near, around = distance < 0.03 * harmonic * fan.shaft * fan.blades, distance < 0.4 * fan.shaft * fan.blades
        assert power[near].max() > 30 * np.median(power[around])


@pytest.mark.parametrize("machine_id", IDS)
def test_pump_flow_pulsates(machine_id):
    """The pump's envelope above its harmonics swells at the pulse rate."""
    high_pass = signal.butter(4, 5000, "high", fs=SAMPLE_RATE, output="sos")
    flow = signal.sosfilt(high_pass, clip_parts("pump", machine_id, "normal", 0)[0])
    frequency, power = signal.periodogram(flow**2, SAMPLE_RATE)
    near, around = (np.abs(frequency - MODELS["pump", machine_id].pulse) < width for width in (1.5, 10))
    assert power[near].max() > 10 * np.median(power[around])


@pytest.mark.parametrize("machine_id", IDS)
def test_slider_comes_and_goes_with_its_strokes(machine_id):
    """The slider is heard for as long as a stroke lasts, then pauses."""
    slider = MODELS["slider", machine_id]
    level = np.mean(clip_parts("slider", machine_id, "normal", 0)[0].reshape(-1, 160) ** 2, axis=1)
    starts, ends = np.flatnonzero(np.diff(level > 0.1 * np.quantile(level, 0.8), prepend=0, append=0)).reshape(-1, 2).T
    strokes = (ends - starts)[ends - starts > 5] / 100
    assert np.median(strokes) == pytest.approx(slider.duty * slider.period, rel=0.2)


@pytest.mark.parametrize("machine_id", IDS)
def test_valve_is_short_clicks_and_fan_is_not(machine_id):
    """The valve's energy is in clicks: its kurtosis is far above the fan's."""
    valve, fan = (clip_parts(machine, machine_id, "normal", 0)[0] for machine in ("valve", "fan"))
    assert stats.kurtosis(valve) > 100
    assert abs(stats.kurtosis(fan)) < 2
    assert np.sort(valve**2)[-SAMPLES // 50 :].sum() > 0.8 * np.sum(valve**2)


def test_noise_is_not_stationary_and_not_twice_the_same():
    """Factory noise changes within a clip and from clip to clip."""
    noises = [clip_parts("fan", "id_00", "normal", k)[1].reshape(10, -1) for k in range(6)]
    levels = np.sqrt(np.mean(np.square(noises), axis=2))
    assert (levels.max(axis=1) > 1.05 * levels.min(axis=1)).all()
    assert np.abs(np.corrcoef(levels) - np.eye(6)).max() < 0.999


KINDS = sorted({(machine, kind) for (machine, _), fault in FAULTS.items() for kind in fault.shares})


@cache
def sketch(machine, **severities):
    """Return the octave spectrum of a machine's sound and its level's course, over some clips."""
    severities = dict.fromkeys((kind for _, kind in KINDS), 0.0) | severities
    sounds = [MODELS[machine, "id_00"].synthesize(np.random.default_rng(k), severities) for k in range(4)]
    power = np.array([signal.welch(sound / sound.std(), SAMPLE_RATE, nperseg=1024)[1] for sound in sounds])
    bands = np.array([band.sum(axis=1) for band in np.array_split(power, 24, axis=1)])
    return np.concatenate([10 * np.log10(bands).mean(axis=1), [np.log(stats.kurtosis(sounds, axis=1) + 4).mean()]])


@pytest.mark.parametrize(("machine", "kind"), KINDS)
def test_every_fault_changes_the_sound_by_degrees(machine, kind):
    """A fault moves the machine's octave spectrum or its level's course, and more so the worse it is."""
    normal, slight, severe = sketch(machine), sketch(machine, **{kind: 0.3}), sketch(machine, **{kind: 1})
    assert 0 < np.linalg.norm(slight - normal) < np.linalg.norm(severe - normal)
    assert np.abs(severe - normal).max() > 1


def test_every_machine_id_has_a_fault():
    assert FAULTS.keys() == MODELS.keys() == {(machine, machine_id) for machine in MACHINES for machine_id in IDS}
    assert all(0 < fault.severity[0] < fault.severity[1] <= 1 for fault in FAULTS.values())


def test_severities_are_those_of_the_record():
    """The library has the recorded severities, and in each machine type the louder fault the higher of four steps."""
    assert {(row["machine"], row["id"]): Fault(row["shares"], tuple(row["severity"])) for row in RECORD} == FAULTS
    for machine in MACHINES:
        rows = sorted((row for row in RECORD if row["machine"] == machine), key=lambda row: -row["reach"])
        assert [row["step"] for row in rows] == sorted({row["step"] for row in RECORD}, reverse=True)
        assert len(set(np.diff([row["step"] for row in rows]))) == 1


@pytest.mark.parametrize("row", RECORD[::5], ids=lambda row: f"{row['machine']} {row['id']}")
def test_faults_have_the_recorded_levels(row):
    """On a part of the record's draws the fault lies around its step; with less noise it stands out more."""
    low, high = (fault_level(row["machine"], row["id"], severity, draws=3) for severity in row["severity"])
    assert (low, high) == pytest.approx(row["level"], abs=0.5)
    assert row["level"] == pytest.approx([row["step"] - 1.5, row["step"] + 1.5], abs=0.2)
    quiet = fault_level(row["machine"], row["id"], row["severity"][1], draws=3, snr=0)
    assert high < quiet < high + 6


def test_tree_is_mimiis(tree):
    """Folders, names, counts, rate, length and sample format are MIMII's; a marker holds the settings and faults."""
    marker = json.loads((tree / "miniature.json").read_text())
    fault = FAULTS["valve", "id_06"]
    assert marker.pop("severity")["valve"]["id_06"] == {"shares": {"leakage": 1}, "severity": [*fault.severity]}
    assert marker == SETTINGS | {"kind": "miniature", "snr": -6, "channels": 1}
    names = [("normal", 0), ("normal", 1), ("abnormal", 0)]
    kinds = [(machine, machine_id, *name) for machine in SETTINGS["machines"] for machine_id in IDS for name in names]
    paths = {f"-6_dB_{kind[0]}/{'/'.join(kind[:3])}/{kind[3]:08d}.wav": kind for kind in kinds}
    assert contents(tree).keys() == {*paths, "miniature.json"}
    for path, kind in paths.items():
        info = soundfile.info(tree / path)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (16_000, 160_000, 1, "PCM_16")
        assert np.abs(soundfile.read(tree / path)[0] - clip(*kind, seed=3)).max() <= 2**-15


def test_eight_channels_hear_one_machine(tmp_path):
    """Microphones share the clip but for a delay; the first is the one-channel clip."""
    make_miniature(tmp_path, snr=0, normal=1, abnormal=0, machines=["valve"], channels=8)
    sound, _ = soundfile.read(tmp_path / "0_dB_valve/valve/id_00/normal/00000000.wav")
    assert sound.shape == (SAMPLES, 8)
    assert np.abs(sound[:, 0] - clip("valve", "id_00", "normal", 0, snr=0)).max() <= 2**-15
    assert np.array_equal(sound[:-3, 0], sound[3:, 4])


def test_an_interrupted_miniature_is_completed(tree, tmp_path):
    """A process that is killed leaves whole files and no marker; the next one makes the same bytes."""
    assert killed(lambda: make_miniature(tmp_path, **SETTINGS), at=30)
    assert not (tmp_path / "miniature.json").exists()
    assert 0 < len(list(tmp_path.rglob("[!.]*.wav"))) < 24
    make_miniature(tmp_path, **SETTINGS)
    assert {name: content for name, content in contents(tmp_path).items() if "/." not in name} == contents(tree)


@pytest.mark.parametrize("other", [{"seed": 1}, {"normal": 1}, {"snr": 0}, {"machines": ["fan"]}, {"channels": 2}])
def test_another_miniature_is_never_overwritten(tree, other):
    """A miniature of other settings is an error that names the setting; of the same settings no file is touched."""
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    with pytest.raises(MimiiError, match=next(iter(other))):
        make_miniature(tree, **SETTINGS | other)
    make_miniature(tree, **SETTINGS)
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


@pytest.mark.parametrize(
    ("name", "sentence"), [("fan/id_00/normal/0.wav", "never overwritten"), ("miniature.json", "cannot be read")]
)
def test_recordings_are_never_overwritten(name, sentence, tmp_path):
    """A folder of recordings, a file, or a folder with a broken marker is left alone."""
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[1]")
    for dest, expected in ((tmp_path, sentence), (file, "empty folder or none")):
        with pytest.raises(MimiiError, match=expected):
            make_miniature(dest, normal=1)
    assert contents(tmp_path) == {name: b"[1]"}


def test_wrong_names_and_numbers_are_refused(tmp_path):
    """Before anything is written, with what is expected."""
    for wrong, sentence in (
        ({"machines": ["fan", "gearbox"]}, "machines: 'gearbox' is not known; expected one of fan"),
        ({"normal": -1}, "normal is -1, expected 0 or more"),
        ({"channels": 0}, "channels is 0, expected 1 or more"),
    ):
        with pytest.raises(MimiiError, match=sentence):
            make_miniature(tmp_path / "data", **wrong)
    for kind in (("gearbox", "id_00", "normal"), ("fan", "id_01", "normal"), ("fan", "id_00", "odd")):
        with pytest.raises(MimiiError, match="is not known; expected one of"):
            clip_parts(*kind, 0)
    assert not (tmp_path / "data").exists()


def test_a_share_of_full_size(tmp_path):
    """A tree for rehearsals has its share of MIMII's clips, no two alike though mixed from one."""
    make_full_size(tmp_path, share=0.001, stock=1)
    wavs = {name: content for name, content in contents(tmp_path).items() if name.endswith(".wav")}
    assert len(wavs) == len(set(wavs.values()))
    counts = Counter(name.rsplit("/", 1)[0] for name in wavs)
    assert counts["-6_dB_fan/fan/id_00/normal"] == 2  # of 1,011
    assert counts["-6_dB_slider/slider/id_06/abnormal"] == 1  # of 89
    with pytest.raises(MimiiError, match="expected an empty folder"):
        make_full_size(tmp_path, share=0.001)
