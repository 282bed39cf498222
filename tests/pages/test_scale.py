"""How large the experiment is, and the records of rehearsals."""

import json

import pytest

from mimii_lib.errors import MimiiError
from mimii_lib.pages import scale, tables
from mimii_lib.run.profiles import load_profile
from mimii_lib.settings import Imaging, Settings


def test_the_size_of_mimii():
    """The splits leave as many patches as the published numbers of clips say."""
    sizes = scale.sizes()
    assert sizes.clips.sum() == 18_019
    assert sizes.patches.sum() == 324_342
    assert (sizes.train.min(), sizes.train.max()) == (6_912, 16_524)
    assert (sizes.train + sizes.test <= sizes.patches).all()
    assert scale.sizes(Settings(imaging=Imaging(patch_offset=64))).patches.sum() < 324_342 / 1.7


def test_operations_are_those_of_the_architectures():
    """Counted on the networks themselves, the work is what their published sizes give (in PFLOP)."""
    profile = load_profile("mimii")
    paper = profile.model_copy(update={"extractors": profile.extractors[:4]})  # without the control
    work = scale.operations(paper) / 1e15
    # A multiplication and an addition each: 0.714, 1.81, 3.66 and 0.82 billion multiplications for a picture.
    published = {"AlexNet": 0.714, "ResNet18": 1.81, "ResNet34": 3.66, "SqueezeNet 1.0": 0.82}
    for name, billions in published.items():
        assert work[name] == pytest.approx(2 * billions * 1e9 * 324_342 / 1e15, rel=0.02), name
    # 12, 24 and 48 channels, kernel 4, on maps of 32, 16 and 8 pixels a side, there and back again.
    maps = 16 * (32**2 * 3 * 12 + 16**2 * 12 * 24 + 8**2 * 24 * 48)
    forth_and_back = 3 * 2 * 2 * maps  # the gradient takes the same work twice, for weights and for inputs
    assert work["Small-DCAE"] == pytest.approx(forth_and_back * 221_742 * 80 * 5 / 1e15, rel=0.05)
    assert work["KDE"] == pytest.approx(0.08, rel=0.02)
    one = scale.operations(paper.model_copy(update={"seeds": (0,)})) / 1e15
    assert one["ResNet18"] == work["ResNet18"]
    assert one["LeNet-DCAE"] == pytest.approx(work["LeNet-DCAE"] / 5)


def record(share, clips, cores=2, **took):
    """Return a record of a rehearsal with all that one tells."""
    stages = [{"what": what, "pieces": 1, "forecast": 1.0, "took": time} for what, time in took.items()]
    machine = {"processor": "some", "cores": cores, "memory": 8e9, "system": "some"}
    rest = {
        "date": "2026-01-01",
        "commit": 40 * "0",
        "workers": 2,
        "facts": ["fan: id_00"],
        "memory": {"book": 4e9},
        "disk": {"kept": 1e9},
    }
    forecast = {"seconds": 1.0, "bytes": 1e9, "memory": 1e9}
    said = {
        "seconds": {"book": 2.0, "until the last AUC": 1.0},
        "forecast": forecast,
        "whole": forecast | {"stages": stages},
    }
    return rest | said | {"share": share, "clips": clips, "stages": stages, "machine": machine}


def test_growth_is_the_exponent():
    """Four times the clips: in proportion is 1, with the square 2; another machine's record is no measure."""
    records = [record(0.25, 100, a=3.0, b=1.0), record(0.5, 200, a=1.0), record(1, 400, a=12.0, b=16.0)]
    assert scale.growth(records).to_dict() == pytest.approx({"a": 1.0, "b": 2.0})
    assert scale.growth([record(0.1, 40, cores=64, a=1.0), *records]).to_dict() == pytest.approx({"a": 1.0, "b": 2.0})
    assert scale.growth([record(0.25, 100, cores=64, a=3.0), record(1, 400, a=12.0)]) is None


def test_a_rehearsal_is_told():
    """A stage stands with its time, its forecast, their ratio and its growth; what was not timed has a dash."""
    small, large = record(0.25, 100, a=3.0, b=1.0), record(1, 400, a=12.0, b=0.0)
    shown = tables.rehearsal_stages([small | {"own": False}, large | {"own": False}]).data
    assert '<td data-head="took">12 s</td><td data-head="forecast">1 s</td>' in shown
    assert '<td data-head="forecast / took">0.08</td><td data-head="grows by">1.00</td>' in shown
    assert '<td data-head="forecast / took">–</td><td data-head="grows by">–</td>' in shown
    assert "made in this checkout" in tables.rehearsal_facts(large | {"own": True}).data
    assert '– until the last AUC</th><td data-head="time">1 s</td>' in tables.rehearsal_steps(large).data
    stages = [
        {"what": "ResNet18: features", "seconds": 60.0, "bytes": 1e9},
        {"what": "ResNet18: KDE", "seconds": 30.0, "bytes": 0},
        {"what": "LeNet-DCAE: training", "seconds": 7200.0, "bytes": 0},
    ]
    whole = tables.whole_table({"whole": {"seconds": 7290.0, "stages": stages}}).data
    assert whole.index("LeNet-DCAE") < whole.index("ResNet18")
    assert '<td data-head="features or training">1 min</td><td data-head="detectors or scores">30 s</td>' in whole
    assert "98.8%" in whole


def test_more_machines_help_until_the_longest_job_is_left():
    """Twice the machines take half of the time; no number of them is faster than one job."""
    assert scale.makespan(10, 400, 2) == 200
    assert scale.makespan(10, 400, 4) == 100
    assert scale.makespan(10, 400, 1000) == 10


def test_the_readers_own_rehearsal_comes_first(tmp_path):
    """Records are ordered by share; the reader's own takes the project's place; a broken one is told."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    for folder, shares in ((shipped, (1, 0.1)), (own, (1,))):
        folder.mkdir()
        for share in shares:
            (folder / f"rehearsal_{share}.json").write_text(json.dumps(record(share, 100)))
    found = scale.rehearsals((shipped, own))
    assert [(each["share"], each["own"]) for each in found] == [(0.1, False), (1, True)]
    for broken in ("{", '{"share": 1}'):
        (own / "rehearsal_1.json").write_text(broken)
        with pytest.raises(MimiiError, match=r"rehearsal_1.json: not the record of a rehearsal .it lacks clips"):
            scale.rehearsals((shipped, own))
    with pytest.raises(MimiiError, match=r"no rehearsal_\*.json found; make one by 'make rehearsal'"):
        scale.rehearsals((tmp_path, tmp_path))
