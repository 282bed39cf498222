"""The forecast: exactly what will be computed, about how long, how much disk and memory, and what to leave out."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from threadpoolctl import threadpool_info

from mimii_lib import paper
from mimii_lib.data import formatting, miniature, weights
from mimii_lib.errors import MimiiError
from mimii_lib.pages import open_points
from mimii_lib.run import Run, forecast
from mimii_lib.run.forecast import Cost
from mimii_lib.run.forecast import forecast as foretell

KEPT = ("spectrograms", "features", "auto-encoders", "scores")


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path_factory):
    """Leave torchvision's cache on this machine out, and the network too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture
def made(tiny, quick, tmp_path):
    """Return a function that makes a run on one ID of the small miniature, with a folder of results for this test."""

    def make(**said):
        return Run("fan", **({"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path / "cache"} | said))

    return make


@pytest.fixture
def costs(monkeypatch):
    """Let every kind of work cost a second a row and an iteration, and nothing else, without measuring."""
    monkeypatch.setattr(
        forecast, "measured", lambda runs, units, found, workers: {unit: Cost(1.0, 1.0, 1.0) for unit in units}
    )


@pytest.fixture
def nothing_measured(monkeypatch):
    """Return a function after whose call nothing can be measured."""

    def forbid():
        def fail(*args):
            raise AssertionError("this is there, so nothing had to be measured")

        monkeypatch.setattr(forecast, "measured", fail)

    return forbid


def kept(run):
    """Return the number of results of each stage in the run's folder."""
    results = list(run.store.folder.glob("*/*/result.joblib"))
    return Counter(path.parents[1].name for path in results)


def size(run, *stages):
    """Return the bytes of all files of some stages."""
    return sum(path.stat().st_size for stage in stages for path in (run.store.folder / stage).rglob("*.*"))


def missing(found, part=None):
    """Return the number of missing pieces by stage, as :func:`kept` counts them."""
    return Counter({stage: found.missing(stage, part) for stage in (*KEPT, "clips")})


# What is missing


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        (None, {"detectors": "kde if"}),
        (None, {"detectors": "small-dcae kde", "seeds": "0 1"}),
        (None, {"detectors": "small-dcae"}),
        ({"detectors": "kde"}, {"detectors": "kde if", "seeds": "0 1"}),
        ({"detectors": "small-dcae"}, {"detectors": "small-dcae kde", "seeds": "0 1"}),
        ({"ids": "id_04"}, {"ids": "id_00 id_04"}),
        (None, {"settings": "imaging.scaling=training", "seeds": "0 1"}),
        ({}, {"settings": "imaging.scaling=training", "seeds": "0 1"}),
        ({"detectors": "kde"}, {"settings": "evaluation.pooling=max"}),
    ],
)
@pytest.mark.usefixtures("costs")
def test_what_is_missing_is_what_is_then_computed(made, nothing_measured, before, asked):
    """As many pieces of every stage are missing as the run then keeps new results, and none afterwards."""
    if before is not None:
        made(**before).auc()
    run = made(**asked)
    found = foretell([run], choices=False)
    were = kept(run)
    run.auc()
    assert missing(found) == kept(run) - were
    nothing_measured()
    again = foretell([made(**asked)], choices=False)
    assert (again.missing(), again.seconds, again.bytes) == (0, 0, 0)
    assert "Nothing is left to compute" in str(again)


@pytest.mark.usefixtures("costs")
def test_scores_that_are_there_need_no_trained_network(made):
    """A trained network that was removed is not trained again for scores that are there; for other seeds it is."""
    run = made(detectors="small-dcae")
    run.auc()
    shutil.rmtree(run.store.folder / "auto-encoders")
    assert foretell([made(detectors="small-dcae")], choices=False).missing() == 0
    assert foretell([made(detectors="small-dcae", seeds="0 1")], choices=False).missing("auto-encoders") == 1


POINTS = [point for point in open_points.POINTS if point.number in (1, 5, 8, 12, 16, 17, 19, 23)]


@pytest.mark.usefixtures("costs")
def test_the_page_on_the_choices(made, monkeypatch, nothing_measured):
    """Of the page on the choices as many pieces are missing as it then computes beyond the run, and none afterwards."""
    for module in (open_points, forecast):
        monkeypatch.setattr(module, "POINTS", POINTS)
        monkeypatch.setattr(module, "DIMENSIONS", (0, 8))
    asked = {"detectors": "kde b-gmm oc-svm small-dcae", "seeds": "0 1", "settings": "detectors.n_components=4"}
    run = made(**asked)
    found = foretell([run])
    were = kept(run)
    run.auc()
    assert missing(found, "results") == kept(run) - were
    were = kept(run)
    open_points.effects([run])
    open_points.at_equal_dimension([run])
    assert missing(found, "choices") == kept(run) - were
    assert found.missing("features", "choices") == 5  # hop 512, range, each patch, the training clips' range by seed
    nothing_measured()
    assert foretell([made(**asked)]).missing() == 0


@pytest.mark.usefixtures("costs")
def test_another_channel_is_read_but_not_by_the_forecast(quick, tiny, tmp_path, monkeypatch):
    """Where a clip has two channels, the page on the choices reads both; the forecast knows it and reads the first."""
    for clip in (tiny / "-6_dB_fan" / "fan" / "id_00").rglob("*.wav"):
        sound, rate = soundfile.read(clip, dtype="int16")
        made = tmp_path / "data" / clip.relative_to(tiny)
        made.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(made, np.stack([sound, sound // 2], axis=1), rate)
    point = next(point for point in open_points.POINTS if point.number == 4)
    for module in (open_points, forecast):
        monkeypatch.setattr(module, "POINTS", [replace(point, alternatives=point.alternatives[-1:])])
        monkeypatch.setattr(module, "DIMENSIONS", ())
    run = Run("fan", profile=quick, data=tmp_path / "data", ids="id_00", cache=tmp_path / "cache")
    found = foretell([run])
    run.auc()
    were = kept(run)
    open_points.effects([run])
    assert missing(found, "choices") == kept(run) - were
    assert (found.missing("clips"), were["clips"]) == (1, 1)


@pytest.mark.usefixtures("costs")
def test_a_miniature_that_is_still_to_be_made(profile, quick, tiny, tmp_path, monkeypatch):
    """A miniature of another SNR is counted on, and not made by the forecast."""
    monkeypatch.setattr(miniature, "make", lambda folder, **size: folder.exists() or shutil.copytree(tiny, folder))
    text = f"data: {tmp_path}/data_{{snr}}\nminiature: {{normal: 12, abnormal: 3}}\nids: [id_00]\n"
    run = Run("fan", profile=profile(text + quick.read_text()), cache=tmp_path / "cache")
    found = foretell([run])
    by_snr = [each for each in found.stages if (each.part, each.stage) == ("choices", "clips")]
    assert by_snr[0].pieces == 2
    assert found.missing("features", "choices") > 2
    assert [path.name for path in tmp_path.glob("data_*")] == ["data_-6"]


@pytest.mark.usefixtures("costs")
def test_a_forecast_keeps_nothing(made):
    """Nothing but the look at every clip is kept, and the recordings are as they were."""
    run = made(detectors=[*paper.DETECTORS, "small-dcae"])
    files = {path: path.stat().st_mtime_ns for path in run.data.rglob("*")}
    foretell([run])
    assert set(kept(run)) == {"clips"}
    assert files == {path: path.stat().st_mtime_ns for path in run.data.rglob("*")}


# Networks and IDs that cannot be run


@pytest.mark.usefixtures("costs")
def test_weights_that_cannot_be_reached_cost_nothing(made):
    """A network without weights is told and costs nothing; without any the auto-encoders are left."""
    alone, both = (
        foretell([made(extractors=name)], choices=False) for name in ("squeezenet1_1", "squeezenet1_1 resnet34")
    )
    assert both.stages == alone.stages
    assert "not run: resnet34" in str(both)
    rest = foretell([made(extractors="resnet34", detectors="kde small-dcae")])
    assert {each.what for each in rest.stages} == {
        "log-mel spectrograms",
        "Small-DCAE: training",
        "Small-DCAE: scores",
    }
    assert foretell([made(extractors="resnet34")]).missing() == 0


def test_no_machine_id_can_be_evaluated(made):
    """Where there is nothing to run the reasons are an error."""
    with pytest.raises(MimiiError, match="too few clips"):
        foretell([made(settings="split.min_train_clips=100")])


# Time


def test_measuring_leaves_everything_as_it_was(made):
    """With real measurements every stage takes time; threads, random numbers and the folder of results stay."""
    run = made(detectors=[*paper.DETECTORS, *paper.AUTOENCODERS], settings="detectors.n_components=8")
    before = (threadpool_info(), torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1:3])  # noqa: NPY002
    found = foretell([run], choices=False)
    after = (threadpool_info(), torch.get_num_threads(), torch.get_rng_state(), np.random.get_state()[1:3])  # noqa: NPY002
    known = {each["filepath"]: each["num_threads"] for each in before[0]}
    assert all(known.get(each["filepath"], each["num_threads"]) == each["num_threads"] for each in after[0])
    assert before[1] == after[1]
    assert torch.equal(before[2], after[2])
    np.testing.assert_array_equal(before[3][0], after[3][0])
    assert before[3][1] == after[3][1]
    assert set(kept(run)) == {"clips"}
    assert all(each.seconds > 0 for each in found.stages)
    assert {each.what for each in found.stages} > {"SqueezeNet 1.1: GMM", "LeNet-DCAE: training"}


@pytest.mark.usefixtures("costs")
def test_time_grows_with_seeds_and_epochs(made):
    """Twice the seeds take a detector twice as long, thrice the epochs thrice the training of an auto-encoder."""

    def seconds(what, **said):
        return next(each.seconds for each in foretell([made(**said)], choices=False).stages if each.what == what)

    kde = [seconds("SqueezeNet 1.1: KDE", seeds=seeds) for seeds in ("0 1", "0 1 2 3")]
    assert kde[1] == pytest.approx(2 * kde[0])
    asked = {"detectors": "small-dcae", "seeds": "0 1"}
    once, thrice = (seconds("Small-DCAE: training", **asked, settings=f"autoencoders.epochs={n}") for n in (1, 3))
    assert thrice == pytest.approx(3 * once)
    scored = [seconds("Small-DCAE: scores", **asked, settings=f"autoencoders.epochs={n}") for n in (1, 3)]
    assert scored[0] == scored[1]


@pytest.mark.usefixtures("costs")
def test_an_idle_core_is_counted(made, monkeypatch):
    """On eight cores one detector takes as long as on one, and eight of them an eighth each."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)

    def seconds(seeds):
        stages = foretell([made(seeds=seeds)], choices=False).stages
        return next(each.seconds for each in stages if each.what == "SqueezeNet 1.1: KDE")

    assert seconds(range(8)) == pytest.approx(seconds([0]))


def test_unequal_machine_types_leave_cores_idle():
    """Two at a time: equal ones share the time, and one that takes longest alone is waited for."""
    equal = [("fan", 1.0), ("pump", 1.0), ("slider", 1.0), ("fan", 1.0), ("pump", 1.0), ("slider", 1.0)]
    assert forecast._elapsed([(name, 1.0) for name in ("fan", "pump", "slider", "valve")], 2) == 4
    assert forecast._elapsed(equal, 1) == 6
    assert forecast._elapsed(equal, 2) == 8  # of the third one half of the cores is idle
    assert forecast._elapsed([("fan", 10.0), ("pump", 1.0), ("slider", 1.0)], 2) == 20
    assert forecast._elapsed([("fan", 1.0), ("pump", 1.0), (None, 10.0)], 2) == 12  # clips are read before all else


# Disk and memory


def test_the_bytes_are_those_that_are_written(made, costs):
    """Within a tenth, every stage takes the disk that was forecast."""
    run = made(detectors="kde small-dcae lenet-dcae", seeds="0 1")
    found = foretell([run], choices=False)
    run.auc()
    for stage in KEPT:
        said = sum(each.bytes for each in found.stages if each.stage == stage)
        assert said == pytest.approx(size(run, stage), rel=0.1), stage


@pytest.mark.usefixtures("costs")
def test_a_disk_that_is_too_small(made, monkeypatch):
    """Too little room is a problem that tells how much is needed, how much there is and what to do."""
    assert foretell([made()]).problems == []
    full = shutil.disk_usage(made().store.folder)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: full)
    found = foretell([made()])
    (problem,) = found.problems
    assert formatting.gigabytes(found.bytes) in problem
    assert "1 MB free" in problem
    assert "MIMII_CACHE" in problem
    assert problem in str(found)


@pytest.mark.usefixtures("costs")
def test_memory(made, monkeypatch):
    """Memory grows with clips, patches and dimension; more than there is is a warning."""
    small = foretell([made()])
    assert small.warnings == []
    patches = foretell([made(settings="imaging.patch_offset=2")])
    assert patches.memory > small.memory
    lite = {"extractors": "efficientnet_lite0", "settings": "imaging.patch_offset=2"}
    assert foretell([made(**lite)]).memory < patches.memory  # 1,280 dimensions instead of 2,048
    monkeypatch.setattr(forecast, "_installed", lambda: 10**8)
    (warning,) = foretell([made()]).warnings
    assert "0.1 GB there" in warning


@pytest.mark.parametrize("clips", [1, 3])
def test_memory_at_the_size_of_the_largest_machine_id(made, monkeypatch, clips):
    """Five detectors over two seeds at 1,424 clips of 4,096 dimensions take what was measured: 3.9 GB."""
    run = made(extractors="squeezenet1_1", seeds="0 1")
    n_train, n_test = (918, 300) if clips == 1 else (2754, 900)
    monkeypatch.setattr(Run, "members", lambda self, name, seed, role: range(n_train if role == "train" else n_test))
    monkeypatch.setattr(Run, "of", lambda self, name: range(1424 * clips))
    imaging = run.settings.imaging.model_copy(update={"patch_offset": 32})
    run.settings = run.settings.model_copy(update={"imaging": imaging})
    wide = replace(forecast.extractors.get("squeezenet1_1"), dimension=4096)
    monkeypatch.setitem(forecast.extractors.EXTRACTORS, "squeezenet1_1", wide)
    measured = 3701 * 2**20
    found = forecast._memory(run, 2)
    assert found == pytest.approx(measured, rel=0.15) if clips == 1 else found > 2 * measured


# What is told


@pytest.mark.usefixtures("costs")
def test_what_can_be_left_out(made):
    """Each way to leave something out is ranked by its share of the time, and saves what it says."""
    asked = {"detectors": "kde small-dcae", "seeds": "0 1", "extractors": "squeezenet1_1 efficientnet_lite0"}
    found = foretell([made(**asked)])
    shares = [int(each.split(": ")[-1].split()[0].rstrip("%")) for each in found.suggestions]
    assert shares == sorted(shares, reverse=True)
    ways = {
        "CHOICES=no": ({}, False),
        "DETECTORS='kde'": ({"detectors": "kde"}, True),
        "EXTRACTORS='squeezenet1_1'": ({"extractors": "squeezenet1_1"}, True),
        "SEEDS=0": ({"seeds": "0"}, True),
        "SETTINGS='autoencoders.seeds=0'": ({"settings": "autoencoders.seeds=0"}, True),
    }
    for each in found.suggestions:
        change, page = ways[each.split(" ")[0]]
        left = foretell([made(**(asked | change))], choices=page).seconds
        assert 1 - left / found.seconds == pytest.approx(shares[found.suggestions.index(each)] / 100, abs=0.02), each
    assert "CHOICES=no" in str(found)


@pytest.mark.usefixtures("costs")
def test_what_is_told(made):
    """A reader is told what is computed, how much is there, and time, disk and memory for people."""
    told = str(foretell([made(seeds="0 1")], choices=False))
    for part in (
        "fan: id_00; 15 clips, 45 patches",
        "KDE; seeds 0, 1",
        "SqueezeNet 1.1: KDE",
        "Time: about",
        "are free",
    ):
        assert part in told
    assert str(made().data) not in told


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "1 s"), (59, "59 s"), (90, "2 min"), (3599, "1 h 0 min"), (12_000, "3 h 20 min")]
)
def test_durations(seconds, said):
    """Durations are told in hours and minutes."""
    assert formatting.duration(seconds) == said


def test_counting_measures_nothing(made, nothing_measured):
    """What is missing can be counted without a measurement; no time is told then, and nothing is ranked by it."""
    nothing_measured()
    found = foretell([made(detectors="kde small-dcae", seeds="0 1")], choices=False, measure=False)
    assert (found.missing("features"), found.missing("scores"), found.seconds, found.suggestions) == (1, 4, 0, [])
    assert "Time: not measured" in str(found)


def test_how_long_what_is_there_took(made, nothing_measured):
    """After a run each stage tells how long it took; a second detector adds its own time and no other."""
    made().auc()
    nothing_measured()
    before = {each.what: each.took for each in foretell([made()], choices=False).stages}
    assert min(before.values()) > 0
    run = made(detectors="kde if")
    run.auc()
    after = {each.what: each.took for each in foretell([run], choices=False).stages}
    assert after.pop("SqueezeNet 1.1: IF") > 0
    del after["SqueezeNet 1.1: standardised"], before["SqueezeNet 1.1: standardised"]  # prepared anew for another
    assert after == before


def test_a_process_has_its_share_of_the_cores(made, monkeypatch):
    """What a process of one thread took counts for half on two cores; a detector's thread is one core's share."""
    run = made()
    run.store.threads = 1
    run.auc()
    seen = {}
    for cores in (1, 2):
        monkeypatch.setattr(torch, "get_num_threads", lambda cores=cores: cores)
        seen[cores] = {each.what: each.took for each in foretell([made()], choices=False).stages}
    assert seen[2] == pytest.approx({what: took / 2 for what, took in seen[1].items()})
    other = made(seeds="1")
    other.store.threads = 2
    other.auc()
    took = {each.what: each.took for each in foretell([other], choices=False).stages}
    (kept_scores,) = (
        p for p in run.store.folder.glob("scores/*/took.json") if json.loads(p.read_text())["threads"] == 2
    )
    assert took["SqueezeNet 1.1: KDE"] == json.loads(kept_scores.read_text())["seconds"]["scores"] / 2
