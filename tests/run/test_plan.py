"""The plan of a book: which jobs run with which digest, what is not run and why, and nothing made before it is time."""

import fcntl
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile

from mimii_lib.errors import MimiiError
from mimii_lib.run import runs_of
from mimii_lib.run.plan import plan, write_plan

PROFILE = """{machines: [fan, valve], ids: [id_00, id_02], seeds: [0], detectors: [kde, if, lenet-dcae, knn],
extractors: [squeezenet1_1, efficientnet_lite0], weight_sources: [package]%s}"""
BOTH, ALL = {"fan", "valve"}, {"features", "detectors", "lenet-dcae"}


@pytest.fixture
def planned(tiny, profile):
    """Return a function that plans a run of two machine types, two IDs and two networks."""

    def make(text: str = "", *, machines: str | None = None, **parameters: object) -> dict:
        options = {"profile": str(profile(PROFILE % text)), "data": tiny} | parameters
        return plan(runs_of(machines, **options), profile_options=options, pieces=True)

    return make


def changed(before: dict, after: dict) -> set[tuple[str, ...]]:
    """Return machine type, machine ID and kind of the jobs that have a new digest."""
    jobs = [(machine, *job) for machine, digests in after["pieces"].items() for job in digests.items()]
    return {(m, *name.split("/")[:2]) for m, name, digest in jobs if before["pieces"][m].get(name) != digest}


@pytest.mark.parametrize(
    ("parameters", "machines", "kinds"),
    [
        ({"settings": "imaging.top_db=60"}, BOTH, ALL),
        ({"settings": "imaging.scaling=training"}, BOTH, ALL),
        ({"settings": "detectors.bandwidth=0.2"}, BOTH, {"detectors"}),
        ({"settings": "autoencoders.epochs=2"}, BOTH, {"lenet-dcae"}),
        ({"settings": "evaluation.pooling=max"}, BOTH, set()),
        ({"detectors": "kde if gmm lenet-dcae"}, BOTH, {"detectors"}),
        ({"seeds": "0 1"}, BOTH, {"detectors", "lenet-dcae"}),
        ({"text": ", per_machine: {fan: {settings: {imaging: {top_db: 60}}}}"}, {"fan"}, ALL),
    ],
)
def test_a_changed_parameter_changes_what_depends_on_it(planned, parameters, machines, kinds):
    """A parameter changes the digest of a job if and only if the job computes something else."""
    before, after = planned(), planned(**parameters)
    assert changed(before, after) == {
        (name, n, kind) for name in machines for n in ("id_00", "id_02") for kind in kinds
    }
    assert {name for name in BOTH if before["identities"][name] != after["identities"][name]} == machines


def test_another_clip_changes_its_machine_id_alone(planned, tiny, tmp_path):
    """Digests follow the sound of the clips, not the folder that holds them."""
    copy = shutil.copytree(tiny, tmp_path / "copy")
    before = planned()
    assert planned(data=copy)["identities"] == before["identities"]
    wav = next((copy / "-6_dB_valve" / "valve" / "id_02" / "normal").glob("*.wav"))
    soundfile.write(wav, soundfile.read(wav, dtype="int16")[0][::-1], 16_000, subtype="PCM_16")
    after = planned(data=copy)
    assert changed(before, after) == {("valve", "id_02", kind) for kind in ALL}
    assert after["identities"]["fan"] == before["identities"]["fan"]


def test_what_is_not_run_has_its_reason(planned, tiny, tmp_path, monkeypatch):
    """A machine type that was not asked for, or cannot be evaluated, has a reason and no job; paths are absolute."""
    copy = shutil.copytree(tiny, tmp_path / "copy")
    for folder in copy.glob("-6_dB_valve/valve/*/abnormal"):
        shutil.rmtree(folder)
    monkeypatch.chdir(tmp_path)
    content = planned(data=Path("copy"), seeds="0 1")
    assert content["parameters"].items() >= {"data": str(copy), "seeds": "0 1"}.items()
    assert list(content["identities"]) == list(content["pieces"]) == content["choices"] == ["fan"]
    assert list(content["not_run"]) == ["pump", "slider", "valve"]
    assert "id_02" in content["not_run"]["valve"]
    assert not any("knn" in name for name in content["pieces"]["fan"])  # a simple baseline takes no job of its own
    with pytest.raises(MimiiError, match=r"valve: no machine ID can be evaluated.*id_00"):
        planned(data=copy, machines="valve")


def test_a_machine_type_without_any_system_is_not_run(planned):
    """Where no network of a machine type has weights and nothing else was asked for, the others are run alone."""
    fan = ", per_machine: {fan: {extractors: [resnet34], detectors: [gmm%s]}}"
    content = planned(text=fan % "")
    assert list(content["identities"]) == content["choices"] == ["valve"]
    assert "resnet34" in content["not_run"]["fan"]
    content = planned(text=fan % ", level")
    assert list(content["identities"]) == ["fan", "valve"]
    assert content["choices"] == ["valve"]  # without a network no choice can be measured
    with pytest.raises(MimiiError, match="nothing can be run: fan: no network has weights"):
        planned(text=fan % "", machines="fan")


def test_pictures_that_auto_encoders_cannot_take_stop_the_plan(planned):
    """They take up to 64 x 64 pixels; without them larger ones are planned."""
    assert planned(settings="imaging.n_mels=128", detectors="kde")["identities"]
    with pytest.raises(MimiiError, match="expected at most 64 x 64"):
        planned(settings="imaging.n_mels=128")


def test_a_second_book_in_a_folder_waits_for_the_first(profile, tmp_path, capsys, monkeypatch):
    """A lock ends with its holder, however that ends; a dry run makes no miniature and leaves no earlier plan."""
    monkeypatch.chdir(tmp_path)
    parameters = {"profile": str(profile(f"data: {tmp_path}/miniature_{{snr}}_dB\nminiature: {{}}\n"))}
    earlier_plan = tmp_path / "plan.json"
    earlier_plan.touch()
    with ThreadPoolExecutor() as threads, Path("lock").open("w") as own:
        with Path("lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            second = threads.submit(write_plan, earlier_plan, ["fan"], parameters, dry_run=True, lock=own.fileno())
            with pytest.raises(TimeoutError):
                second.result(timeout=0.5)
        second.result(timeout=60)
    out, err = capsys.readouterr()
    assert ("there is no miniature yet" in out, "this one waits for its end" in err) == (True, True)
    assert {path.name for path in tmp_path.rglob("*")} == {"lock", "some.yaml"}
