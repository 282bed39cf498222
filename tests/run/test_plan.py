"""The plan of a book: what runs with which digest, what is not run and why, and nothing made before it is time."""

import fcntl
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import soundfile

from mimii_lib.errors import MimiiError
from mimii_lib.run import runs_of
from mimii_lib.run.plan import plan, write_plan

PROFILE = """\
machines: [fan, valve]
ids: [id_00, id_02]
seeds: [0]
detectors: [kde, if, lenet-dcae, knn]
extractors: [squeezenet1_1, efficientnet_lite0]
weight_sources: [package]
"""
KINDS = ("features", "detectors", "lenet-dcae")


@pytest.fixture
def planned(tiny, profile):
    """Return a function that plans a run of two machine types, two IDs and two networks."""

    def make(text: str = "", *, machines: str | None = None, choices: bool = True, **parameters: object) -> dict:
        options = {"profile": str(profile(PROFILE + text)), "data": tiny} | parameters
        runs = runs_of(machines, **options)
        return plan(runs, profile_options=options, choices=choices, pieces=True)

    return make


def changed_kinds(before: dict, after: dict) -> set[tuple[str, str]]:
    """Return machine type and kind of the pieces that would be computed anew, or for the first time."""
    pieces = [(machine, name) for machine in after["pieces"] for name in after["pieces"][machine]]
    new = [
        (machine, name)
        for machine, name in pieces
        if before["pieces"][machine].get(name) != after["pieces"][machine][name]
    ]
    return {(machine, name.split("/")[1]) for machine, name in new}


@pytest.mark.parametrize(
    ("parameters", "kinds"),
    [
        ({"settings": "imaging.top_db=60"}, KINDS),
        ({"settings": "imaging.scaling=training"}, KINDS),
        ({"settings": "detectors.bandwidth=0.2"}, ("detectors",)),
        ({"settings": "detectors.memory=64"}, ()),
        ({"settings": "autoencoders.epochs=2"}, ("lenet-dcae",)),
        ({"settings": "evaluation.pooling=max"}, ()),
        ({"detectors": "kde if gmm lenet-dcae"}, ("detectors",)),
        ({"seeds": "0 1"}, ("detectors", "lenet-dcae")),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else None,
)
def test_a_changed_parameter_changes_the_jobs_that_depend_on_it(planned, parameters, kinds):
    """A parameter changes the digest of a job if and only if it changes what the job computes."""
    before, after = planned(), planned(**parameters)
    assert changed_kinds(before, after) == {(machine, kind) for machine in ("fan", "valve") for kind in kinds}
    assert before["identities"].keys() == after["identities"].keys()
    assert all(before["identities"][machine] != after["identities"][machine] for machine in before["identities"])


def test_one_machine_type_leaves_the_others_alone(planned):
    """Another setting of the fan, or another clip of the valve, changes nothing of the other machine type."""
    before = planned()
    fan = planned("per_machine: {fan: {settings: {imaging: {top_db: 60}}}}\n")
    assert fan["identities"]["valve"] == before["identities"]["valve"]
    assert changed_kinds(before, fan) == {("fan", kind) for kind in KINDS}


def test_another_clip_changes_its_machine_id_alone(planned, tiny, tmp_path):
    """The digests follow the sound of the clips, not the folder that they lie in."""
    copy = shutil.copytree(tiny, tmp_path / "copy")
    before = planned()
    assert planned(data=copy)["pieces"] == before["pieces"]
    wav = next((copy / "-6_dB_valve" / "valve" / "id_02" / "normal").glob("*.wav"))
    soundfile.write(wav, soundfile.read(wav, dtype="int16")[0][::-1], 16_000, subtype="PCM_16")
    after = planned(data=copy)
    assert after["pieces"]["fan"] == before["pieces"]["fan"]
    assert after["identities"]["fan"] == before["identities"]["fan"]
    same = {name for name, digest in after["pieces"]["valve"].items() if digest == before["pieces"]["valve"][name]}
    assert same == {name for name in after["pieces"]["valve"] if name.startswith("id_00/")}


def test_what_is_not_run_has_its_reason(planned, tiny, tmp_path):
    """A machine type that was not asked for, or cannot be evaluated, is in the plan with the reason and has no job."""
    copy = shutil.copytree(tiny, tmp_path / "copy")
    for folder in copy.glob("-6_dB_valve/valve/*/abnormal"):
        shutil.rmtree(folder)
    content = planned(data=copy)
    assert list(content["identities"]) == list(content["pieces"]) == content["choices"] == ["fan"]
    assert list(content["not_run"]) == ["pump", "slider", "valve"]
    assert content["not_run"]["pump"] == "not part of this run"
    assert "id_02" in content["not_run"]["valve"]
    with pytest.raises(MimiiError, match=r"valve: no machine ID can be evaluated.*id_00"):
        planned(data=copy, machines="valve")


def test_the_plan_says_what_a_book_is_made_of(planned, tiny, tmp_path, monkeypatch):
    """Detectors and auto-encoders go by name, simple baselines have no job, and paths are the same from any folder."""
    monkeypatch.chdir(tiny.parent)
    content = planned(data=Path(tiny.name), seeds="0 1", snr=-6, choices=False)
    assert content["parameters"] | {"profile": ""} == {"profile": "", "data": str(tiny), "seeds": "0 1", "snr": -6}
    assert content["detectors"]["fan"] == ["kde", "if"]
    assert content["autoencoders"]["fan"] == ["lenet-dcae"]
    assert len(content["pieces"]["fan"]) == 2 * (2 + 2 + 2)
    assert not any("knn" in name for name in content["pieces"]["fan"])
    assert (content["choices"], content["miniatures"]) == ([], {})


def test_a_dry_run_makes_no_miniature(profile, tmp_path, capsys):
    """Without the miniature that a profile makes, a dry run says so, and leaves no plan and no recordings."""
    text = f"data: {tmp_path}/miniature_{{snr}}_dB\nminiature: {{normal: 6, abnormal: 1, seed: 0}}\n"
    output = tmp_path / "plan.json"
    output.write_text("an earlier plan")
    write_plan(output, ["fan"], {"profile": str(profile(text))}, dry_run=True)
    assert "miniature_-6_dB: there is no miniature yet" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["some.yaml"]


def test_a_second_book_in_a_folder_waits_for_the_first(profile, tmp_path, capsys, monkeypatch):
    """The lock belongs to an open file: it is free when its holder has ended, however that came about."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    leftover = tmp_path / "results" / ".auc-0a1b2c3d.csv"
    leftover.write_text("half-writ")
    parameters = {"profile": str(profile(f"data: {tmp_path}/none_yet\nminiature: {{}}\n"))}
    with ThreadPoolExecutor() as threads, Path("lock").open("w") as second:
        with Path("lock").open("w") as first:
            fcntl.flock(first, fcntl.LOCK_EX)
            waiting = threads.submit(
                write_plan, tmp_path / "plan", ["fan"], parameters, dry_run=True, lock=second.fileno()
            )
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            assert leftover.exists()
        waiting.result(timeout=60)
    assert "this one waits for its end" in capsys.readouterr().err
    assert not leftover.exists()
