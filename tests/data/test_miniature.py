"""The miniature: MIMII's tree, sounded from simple physics, the same for the same seed."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import signal, stats

from mimii_lib.data import miniature
from mimii_lib.data.miniature import FAULTS, MODELS, SAMPLE_RATE, SAMPLES, clip, make, parts
from mimii_lib.dataset import MARKER
from mimii_lib.errors import MimiiError

MACHINES = ("fan", "pump", "slider", "valve")
IDS = ("id_00", "id_02", "id_04", "id_06")
ALL = [(machine, machine_id) for machine in MACHINES for machine_id in IDS]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "miniature"
    make(folder, normal=2, abnormal=1, seed=3)
    return folder


def test_same_seed_same_bytes(tree, tmp_path):
    """Two makes with the same settings are equal bit for bit, marker included."""
    make(tmp_path, normal=2, abnormal=1, seed=3)
    assert contents(tmp_path) == contents(tree)


def test_another_seed_other_clips():
    """Another seed gives another clip of the same machine in another background."""
    for one, other in zip(parts("fan", "id_00", "normal", 0), parts("fan", "id_00", "normal", 0, seed=1), strict=True):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.9


def test_no_two_clips_alike():
    """Machine, ID, condition and index all change the sound."""
    names = [("fan", "id_00", "normal", 0), ("fan", "id_00", "normal", 1), ("fan", "id_00", "abnormal", 0)]
    names += [("fan", "id_02", "normal", 0), ("pump", "id_00", "normal", 0)]
    assert np.abs(np.corrcoef([clip(*name) for name in names]) - np.eye(len(names))).max() < 0.5


def test_tree_is_mimiis(tree):
    """Folders, names, counts, rate, length, channels and sample format are MIMII's."""
    wavs = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.wav"))
    assert wavs == sorted(
        f"-6_dB_{machine}/{machine}/{machine_id}/{name}.wav"
        for machine, machine_id in ALL
        for name in ("normal/00000000", "normal/00000001", "abnormal/00000000")
    )
    for wav in wavs:
        info = soundfile.info(tree / wav)
        assert (info.samplerate, info.frames, info.channels, info.subtype) == (16_000, 160_000, 1, "PCM_16")
    assert {path.name for path in tree.iterdir()} == {f"-6_dB_{machine}" for machine in MACHINES} | {"miniature.json"}


def test_marker_says_what_made_it(tree):
    """The marker holds every setting and which fault each machine ID has."""
    marker = json.loads((tree / "miniature.json").read_text())
    severity = marker.pop("severity")
    assert marker == {
        "kind": "miniature",
        "snr": -6,
        "normal": 2,
        "abnormal": 1,
        "seed": 3,
        "channels": 1,
        "machines": list(MACHINES),
    }
    assert severity["valve"]["id_06"]["shares"] == {"leakage": 1}
    assert all(set(severity[machine]) == set(IDS) for machine in MACHINES)


def test_files_hold_the_clips(tree):
    """A file is its clip to the rounding of 16 bit, however many others were made."""
    for machine in MACHINES:
        sound, _ = soundfile.read(tree / f"-6_dB_{machine}/{machine}/id_04/normal/00000001.wav")
        assert np.abs(sound - clip(machine, "id_04", "normal", 1, seed=3)).max() <= 2**-15


@pytest.mark.parametrize("snr", [-6, 0, 6])
@pytest.mark.parametrize("machine", MACHINES)
def test_snr_is_what_was_asked_for(machine, snr):
    """The machine's power over the noise's is the SNR, and their sum is the clip."""
    sound, noise = parts(machine, "id_02", "abnormal", 5, snr=snr)
    assert 10 * np.log10(np.mean(sound**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.1)
    assert np.array_equal(sound + noise, clip(machine, "id_02", "abnormal", 5, snr=snr))


def test_snr_changes_the_level_of_the_noise_alone():
    """A clip at +6 dB is the clip at -6 dB with a quarter of the noise."""
    (sound, noise), (same, less) = (parts("pump", "id_00", "normal", 2, snr=snr) for snr in (-6, 6))
    assert np.array_equal(sound, same)
    assert less == pytest.approx(noise * 10 ** (-12 / 20))


@pytest.mark.parametrize(("machine", "machine_id"), ALL)
def test_no_clipping_at_mimiis_level(machine, machine_id):
    """Clips stay off full scale, and are as loud as MIMII's: 0.011 RMS at -6 dB."""
    for condition in ("normal", "abnormal"):
        sound = clip(machine, machine_id, condition, 7)
        assert sound.shape == (SAMPLES,)
        assert sound.dtype == np.float64
        assert np.abs(sound).max() < 0.99
        assert 0.008 < np.sqrt(np.mean(sound**2)) < 0.015


def test_loud_clips_are_turned_down_as_a_whole(monkeypatch):
    """Where a peak would reach full scale, machine and noise keep their ratio."""
    monkeypatch.setattr(miniature, "MACHINE_RMS", 0.5)
    sound, noise = parts("valve", "id_02", "normal", 0, snr=0)
    assert np.abs(sound + noise).max() == pytest.approx(miniature.PEAK)
    assert np.mean(sound**2) == pytest.approx(np.mean(noise**2))


@pytest.mark.parametrize("machine_id", IDS)
def test_fan_sounds_at_blade_pass_frequency(machine_id):
    """The fan's spectrum stands out at multiples of blades times shaft speed."""
    fan = MODELS["fan"][machine_id]
    frequency, power = signal.welch(parts("fan", machine_id, "normal", 0)[0], SAMPLE_RATE, nperseg=SAMPLE_RATE)
    for harmonic in (1, 2):
        centre = harmonic * fan.shaft * fan.blades
        assert power[np.abs(frequency - centre) < 0.03 * centre].max() > 30 * np.median(
            power[np.abs(frequency - centre) < 0.4 * fan.shaft * fan.blades]
        )


@pytest.mark.parametrize("machine_id", IDS)
def test_pump_flow_pulsates(machine_id):
    """The pump's envelope above its harmonics swells at the pulse rate."""
    pump = MODELS["pump"][machine_id]
    high = signal.sosfilt(
        signal.butter(4, 5000, "high", fs=SAMPLE_RATE, output="sos"),
        parts("pump", machine_id, "normal", 0)[0],
    )
    frequency, power = signal.periodogram(high**2, SAMPLE_RATE)
    near, around = (np.abs(frequency - pump.pulse) < width for width in (1.5, 10))
    assert power[near].max() > 10 * np.median(power[around])


@pytest.mark.parametrize("machine_id", IDS)
def test_slider_comes_and_goes_with_its_strokes(machine_id):
    """The slider is heard for as long as a stroke lasts, then rests."""
    slider = MODELS["slider"][machine_id]
    level = np.mean(parts("slider", machine_id, "normal", 0)[0].reshape(-1, 160) ** 2, axis=1)
    starts, ends = np.flatnonzero(np.diff(level > 0.1 * np.quantile(level, 0.8), prepend=0, append=0)).reshape(-1, 2).T
    strokes = (ends - starts)[ends - starts > 5] / 100
    assert np.median(strokes) == pytest.approx(slider.duty * slider.period, rel=0.2)


@pytest.mark.parametrize("machine_id", IDS)
def test_valve_is_short_clicks_and_fan_is_not(machine_id):
    """The valve's energy is in clicks: its kurtosis is far above the fan's."""
    valve, fan = (parts(machine, machine_id, "normal", 0)[0] for machine in ("valve", "fan"))
    assert stats.kurtosis(valve) > 100
    assert abs(stats.kurtosis(fan)) < 2
    loudest = np.sort(valve**2)[::-1]
    assert loudest[: SAMPLES // 50].sum() > 0.8 * loudest.sum()


def test_noise_is_not_stationary_and_not_twice_the_same():
    """Factory noise changes within a clip and from clip to clip."""
    levels = np.array(
        [np.sqrt(np.mean(parts("fan", "id_00", "normal", k)[1].reshape(10, -1) ** 2, axis=1)) for k in range(6)]
    )
    assert (levels.max(axis=1) > 1.05 * levels.min(axis=1)).all()
    assert np.abs(np.corrcoef(levels) - np.eye(6)).max() < 0.999


@pytest.mark.parametrize(
    ("machine", "kind"), [(machine, kind) for machine in MACHINES for kind in MODELS[machine]["id_00"].kinds]
)
def test_every_fault_changes_the_sound_by_degrees(machine, kind):
    """A fault moves the machine's octave spectrum or its level's course, and more so the worse it is."""

    def sketch(severity: float) -> np.ndarray:
        model = MODELS[machine]["id_00"]
        wear = dict.fromkeys(model.kinds, 0.0) | {kind: severity}
        sounds = [model.sound(np.random.default_rng(k), wear) for k in range(6)]
        power = np.array([signal.welch(sound / sound.std(), SAMPLE_RATE, nperseg=1024)[1] for sound in sounds])
        bands = np.array([band.sum(axis=1) for band in np.array_split(power, 24, axis=1)])
        return np.concatenate([10 * np.log10(bands).mean(axis=1), [np.log(stats.kurtosis(sounds, axis=1) + 4).mean()]])

    normal, slight, severe = (sketch(severity) for severity in (0, 0.3, 1))
    assert 0 < np.linalg.norm(slight - normal) < np.linalg.norm(severe - normal)
    assert np.abs(severe - normal).max() > 1


def test_faults_are_known_to_their_machines():
    """Every fault in the table is one that the machine type can sound, at a severity from 0 to 1."""
    for machine, machine_id in ALL:
        fault = FAULTS[machine][machine_id]
        assert set(fault.shares) <= set(MODELS[machine][machine_id].kinds)
        assert 0 < fault.severity[0] < fault.severity[1] <= 1


def test_eight_channels_hear_one_machine(tmp_path):
    """Microphones share the clip but for a delay; the first is the one-channel clip."""
    make(tmp_path, snr=0, normal=1, abnormal=0, machines=["valve"], channels=8)
    sound, _ = soundfile.read(tmp_path / "0_dB_valve/valve/id_00/normal/00000000.wav")
    assert sound.shape == (SAMPLES, 8)
    assert np.abs(sound[:, 0] - clip("valve", "id_00", "normal", 0, snr=0)).max() <= 2**-15
    assert np.array_equal(sound[:-3, 0], sound[3:, 4])


def test_a_share_of_full_size(tmp_path, monkeypatch):
    """A tree for rehearsals has its share of MIMII's clips, no two alike though mixed from two, and is made once."""
    monkeypatch.setattr(miniature, "STOCK", 2)
    miniature.make_full_size(tmp_path, share=0.003)
    wavs = contents(tmp_path)
    wavs.pop(MARKER)
    assert len(wavs) == len(set(wavs.values()))
    counted = Counter(str(Path(name).parent) for name in wavs)
    assert len(counted) == 32
    assert counted["-6_dB_fan/fan/id_00/normal"] == 4  # of 1,011
    assert counted["-6_dB_fan/fan/id_00/abnormal"] == 2  # of 407
    assert counted["-6_dB_slider/slider/id_06/abnormal"] == 1  # of 89
    first = next(tmp_path.rglob("*.wav"))
    first.unlink()
    miniature.make_full_size(tmp_path, share=0.003)
    assert not first.exists()
    with pytest.raises(MimiiError, match=r"share 0.003 \(not 0.004\)"):
        miniature.make_full_size(tmp_path, share=0.004)


@pytest.mark.parametrize("share", [0, -1, 1.5])
def test_a_share_is_a_share(tmp_path, share):
    """More than all of MIMII, or nothing of it, is refused."""
    with pytest.raises(MimiiError, match=f"share is {share}"):
        miniature.make_full_size(tmp_path, share=share)


@pytest.fixture
def small(tmp_path):
    """Two clips per machine ID of one machine type, and how they were asked for."""
    settings = {"normal": 1, "abnormal": 1, "machines": ["valve"]}
    make(tmp_path / "data", **settings)
    return tmp_path / "data", settings


def test_second_make_does_nothing(small):
    """Where the marker says the same settings, no file is touched."""
    folder, settings = small
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make(folder, **settings)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_interrupted_make_is_completed(small, tmp_path, monkeypatch):
    """A make that stopped half-way leaves whole files and no marker, and the next one finishes it."""
    folder, settings = small
    asked = []

    def stopping(*name, **given):
        asked.append(name)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return clip(*name, **given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(miniature, "clip", stopping)
        make(tmp_path / "again", **settings)
    assert not (tmp_path / "again/miniature.json").exists()
    assert len(list((tmp_path / "again").rglob("*.wav"))) == 3
    make(tmp_path / "again", **settings)
    assert contents(tmp_path / "again") == contents(folder)


def test_writing_fails_without_a_trace(tmp_path, monkeypatch):
    """A file that cannot be written whole is not there at all."""

    def full(path, *given, **more):
        Path(path).write_bytes(b"RIFF")
        raise OSError("no space left on device")

    monkeypatch.setattr(miniature.soundfile, "write", full)
    with pytest.raises(MimiiError, match="no space"):
        make(tmp_path, normal=1, abnormal=0, machines=["valve"])
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["miniature.json.part"]


@pytest.mark.parametrize("other", [{"seed": 1}, {"normal": 2}, {"snr": 0}, {"machines": ["fan"]}, {"channels": 2}])
def test_refuses_another_miniature(small, other):
    """A miniature of other settings is left alone, and the message names the setting."""
    folder, settings = small
    before = contents(folder)
    with pytest.raises(MimiiError, match=next(iter(other))):
        make(folder, **settings | other)
    assert contents(folder) == before


def test_refuses_recordings(small):
    """MIMII's own tree, which has no marker, is never written to."""
    folder, settings = small
    (folder / "miniature.json").unlink()
    before = contents(folder)
    with pytest.raises(MimiiError, match="never overwritten"):
        make(folder, **settings)
    assert contents(folder) == before


def test_refuses_a_file_and_a_broken_marker(tmp_path):
    """A destination that is a file, or whose marker cannot be read, is left alone."""
    (tmp_path / "file").write_text("mine")
    with pytest.raises(MimiiError, match="file"):
        make(tmp_path / "file", normal=1)
    for text in ("{", "[1]"):
        (tmp_path / "miniature.json").write_text(text)
        with pytest.raises(MimiiError, match="cannot be read"):
            make(tmp_path, normal=1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"machines": ["fan", "gearbox"]}, "gearbox"),
        ({"normal": -1}, "normal"),
        ({"seed": -1}, "seed"),
        ({"channels": 0}, "channels"),
    ],
)
def test_refuses_what_cannot_be_made(tmp_path, wrong, named):
    """An unknown machine type or too small a number is refused before anything is written."""
    with pytest.raises(MimiiError, match=named):
        make(tmp_path / "data", **wrong)
    assert not (tmp_path / "data").exists()


def test_refuses_unknown_names():
    """An unknown name of a clip is refused with the names that are known."""
    for name in (("gearbox", "id_00", "normal"), ("fan", "id_01", "normal"), ("fan", "id_00", "anomaly")):
        with pytest.raises(MimiiError, match="expected one of"):
            clip(*name, 0)
