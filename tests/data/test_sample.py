"""A sample of MIMII that a profile names: downloaded once, told apart from everything else, and never by surprise."""

import pytest
from archives import DCASE, clip, packed, register
from bad_server import BadServer

from mimii_lib.errors import MimiiError
from mimii_lib.pages import run_box, tables
from mimii_lib.run import Run
from mimii_lib.run.plan import write_plan

CLIPS = {
    f"fan/{part}/{label}_id_0{i}_0000000{k}.wav": clip(100 * i + 10 * n + k, channels=1, samples=16_000, format="WAV")
    for i in (0, 2)
    for n, (part, label) in enumerate([("test", "anomaly"), ("test", "normal"), ("train", "normal")])
    for k in range(3)
}
FILES = {DCASE: packed(CLIPS.items())}
SETTINGS = "{imaging: {seconds: 1, patch_frames: 32}, detectors: {n_components: 2}, split: {min_train_clips: 2}}"


@pytest.fixture
def sample(profile, tmp_path):
    """Return a function that writes a profile of a sample from a mirror."""
    registry = register(FILES, tmp_path / "registry.csv")

    def write(mirror):
        source = f"{{normal: 4, abnormal: 2, mirror: '{mirror}', registry: '{registry}'}}"
        return profile(f"data: {tmp_path / 'sample'}\nsample: {source}\nsettings: {SETTINGS}\n")

    return write


def test_a_sample_is_fetched_once(sample, tmp_path, capsys):
    """The first run downloads the clips; later runs, on a part of them, neither ask a server nor print anything."""
    with BadServer(FILES) as server:
        Run("fan", profile=sample(server.url))
        requests = len(server.requests)
        assert "12 clips fetched" in capsys.readouterr().err
        for ids in (None, "id_02"):
            Run("fan", profile=sample(server.url), ids=ids)
        assert len(server.requests) == requests
    assert capsys.readouterr() == ("", "")
    assert len(list((tmp_path / "sample" / "fan").rglob("*.wav"))) == 12


def test_without_a_network_a_sentence_names_the_miniature(sample, monkeypatch):
    """No wait, no half-made folder of recordings: the error says what needs no network."""
    with pytest.raises(MimiiError, match="sample of MIMII is not there, .* is not reached .*miniature.*: make book"):
        Run("fan", profile=sample("http://nowhere.invalid"))
    monkeypatch.setenv("MIMII_OFFLINE", "1")
    with BadServer(FILES) as server, pytest.raises(MimiiError, match="MIMII_OFFLINE forbids downloads; .*make book"):
        Run("fan", profile=sample(server.url))


def test_a_dry_run_downloads_nothing(sample, tmp_path, capsys):
    """It says that the sample comes first, and writes no plan."""
    with BadServer(FILES) as server:
        write_plan(tmp_path / "plan.json", ["fan"], {"profile": sample(server.url)}, dry_run=True)
        assert server.requests == []
    assert "there is no sample of MIMII yet; 'make book' downloads it first" in capsys.readouterr().out
    assert not (tmp_path / "plan.json").exists()


def test_another_snr_is_not_downloaded_by_the_way(sample):
    """A comparison with another SNR is not run where its clips are missing."""
    with BadServer(FILES) as server:
        run = Run("fan", profile=sample(server.url))
        requests = len(server.requests)
        with pytest.raises(MimiiError, match="no recordings of the fan at 0 dB"):
            run.with_overrides(snr=0).ids  # noqa: B018
        assert len(server.requests) == requests


def test_results_on_a_sample_say_so(sample):
    """They are compared with the paper's, and every verdict carries the clips that trained and the licence."""
    with BadServer(FILES) as server:
        runs = [Run("fan", profile=sample(server.url))]
    assert (run_box.comparable(runs), run_box.scope(runs)) == (True, "on a sample")
    assert runs[0].recordings.licence.startswith("CC BY-NC-SA 4.0: Koizumi")
    assert "a sample of MIMII: 2 clips train for each machine ID, in the paper 861 to 866" in tables.verdict(runs)
    assert "a sample of MIMII" in run_box.facts(runs).data
    assert "CC BY-NC-SA 4.0" in run_box.facts(runs).data
