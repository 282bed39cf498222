"""Audio networks: their front ends and networks against second computations, what they hear, and runs with them."""

import csv
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest
import soundfile
import torch
from torch.nn import functional

from mimii_lib import extractors
from mimii_lib.data import weights
from mimii_lib.data.weights import BUNDLED, find_weights
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.extractors import EXTRACTORS, Extractor
from mimii_lib.pages import explanations, figures, open_points
from mimii_lib.run import Run, engines
from mimii_lib.run.forecast import forecast
from mimii_lib.settings import Features, Imaging
from mimii_lib.systems import audio_networks

AUDIO = {"speech_embedding": ((25, 76, 32), 96), "yamnet": ((19, 96, 64), 1024)}
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture(scope="module")
def tflite():
    """Return a function that computes a file of the package pyopen-wakeword by OpenVINO."""

    def run(name, inputs):
        path = BUNDLED["speech_embedding"].path().with_name(f"{name}.tflite")
        model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return model(inputs)[0]

    return run


@pytest.fixture(scope="module")
def yamnet(request):
    """Return YAMNet's weights, with a function from a waveform to the names of the classes, the likeliest first."""
    folder = request.getfixturevalue("shared") / "weights"
    if not (folder / "yamnet.pt").is_file():
        pytest.skip("needs weights of yamnet")
    pretrained = find_weights("yamnet", folder)
    net = engines.classifier(pretrained)
    with (folder / "yamnet_class_map.csv").open() as file:
        names = [row["display_name"] for row in csv.DictReader(file)]

    def classes(waveform):
        with torch.inference_mode():
            logits = net(torch.from_numpy(audio_networks.yamnet_windows(waveform.astype(np.float32))))
        return [names[at] for at in logits.sigmoid().mean(0).argsort(descending=True)]

    return pretrained, classes


@pytest.mark.parametrize("name", AUDIO)
def test_windows_of_a_clip(name, recordings):
    """A clip of 10 s gives windows that overlap by half, whatever its sample rate; a short one is a sentence."""
    extractor, (shape, dimension) = extractors.get(name), AUDIO[name]
    windows = audio_networks.windows(recordings[0], 16_000, extractor)
    assert (windows.shape, windows.dtype, extractor.dimension) == (shape, np.float32, dimension)
    half = shape[1] // 2
    np.testing.assert_array_equal(windows[1:, :half], windows[:-1, half : 2 * half])
    tone = np.sin(2 * np.pi * 1000 * np.arange(441_000) / 44_100).astype(np.float32)
    resampled, direct = (audio_networks.windows(tone[::step], 44_100 // step, extractor) for step in (1, 2))
    assert resampled.shape == direct.shape == shape
    assert resampled.mean((0, 1)).argmax() == direct.mean((0, 1)).argmax()  # the band of the tone
    with pytest.raises(MimiiError, match=r"waveform: 0\.500 s found, a window needs .*longer clips"):
        audio_networks.windows(np.zeros(8000, np.float32), 16_000, extractor)
    with pytest.raises(MimiiError, match="resnet18: takes pictures"):
        audio_networks.windows(recordings[0], 16_000, extractors.get("resnet18"))


def test_the_speech_embedding_is_that_of_its_package(tflite, recordings):
    """Front end and network give what the package's two files give when OpenVINO runs them as they are."""
    sound = recordings[0]
    mel = tflite("melspectrogram", 32_768 * sound[None])[0, 0] / 10 + 2
    expected = np.stack([mel[start : start + 76] for start in range(0, len(mel) - 75, 38)])
    windows = audio_networks.speech_windows(sound)
    np.testing.assert_allclose(windows, expected, atol=1e-4)
    pretrained = find_weights("speech_embedding")
    features = tflite("embedding_model", windows[..., None]).reshape(-1, 96)
    for engine in ("openvino", "torch"):
        ours = engines.extract(windows, pretrained, Imaging(), Features(engine=engine))
        np.testing.assert_allclose(ours, features, atol=1e-5 * np.abs(features).max(), rtol=1e-4)


def test_yamnets_front_end_is_audiosets(recordings):
    """Each frame is the log of 64 triangles over mel, of the magnitude of a Hann window of 25 ms."""
    sound, windows = recordings[0].astype(np.float64), audio_networks.yamnet_windows(recordings[0])
    mel = 1127 * np.log1p(np.arange(257) * 16_000 / 512 / 700)
    edges = np.linspace(*(1127 * np.log1p(np.array([125, 7500]) / 700)), 66)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    for number, frame in ((0, 0), (3, 17), (18, 95)):
        start = (48 * number + frame) * 160
        magnitude = np.abs(np.fft.rfft(window * sound[start : start + 400], 512))
        bands = [np.interp(mel, edges[band : band + 3], [0, 1, 0]) @ magnitude for band in range(64)]
        np.testing.assert_allclose(windows[number, frame], np.log(np.array(bands) + 0.001), atol=1e-4)


def test_yamnets_layers_are_mobilenets(yamnet, recordings):
    """The first layers, written out with TensorFlow's padding, give the network's maps; both engines its features."""
    pretrained, _ = yamnet
    state, windows = pretrained.state(), torch.from_numpy(audio_networks.yamnet_windows(recordings[0])[:3])
    whole = engines.classifier(pretrained)
    maps = functional.pad(windows[:, None], (0, 1, 0, 1))
    maps = functional.conv2d(maps, state["conv0.weight"], state["conv0.bias"], stride=2).relu()
    for number, stride in ((1, 1), (2, 2)):
        maps = functional.pad(maps, (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1))
        depthwise, pointwise = (
            [state[f"{kind}{number}.{part}"] for part in ("weight", "bias")] for kind in ("dw", "pw")
        )
        maps = functional.conv2d(maps, *depthwise, stride=stride, groups=maps.shape[1]).relu()
        maps = functional.conv2d(maps, *pointwise).relu()
    with torch.inference_mode():
        upto = [name for name, _ in whole.named_children()].index("pw2_relu") + 1
        assert torch.allclose(whole[:upto](windows), maps, atol=1e-4)
        expected = whole[:-1](windows).numpy()
    for engine in ("openvino", "torch"):
        ours = engines.extract(windows.numpy(), pretrained, Imaging(), Features(engine=engine))
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_yamnet_names_what_it_hears(yamnet, shared):
    """Weights that were read right hear noise, a tone, silence and a machine."""
    _, classes = yamnet
    noise, time = 0.1 * RANDOM.standard_normal(80_000), np.arange(80_000) / 16_000
    assert "White noise" in classes(noise)[:2]
    assert {"Beep, bleep", "Sine wave"} & set(classes(0.3 * np.sin(2 * np.pi * 1000 * time))[:2])
    assert classes(np.zeros(80_000))[0] == "Silence"
    machine = extractors.get("yamnet")
    heard = []
    for file in sorted((shared / "real_own").rglob("normal/*.wav"))[:8]:
        sound, rate = soundfile.read(file, dtype="float32")
        windows = audio_networks.windows(sound, rate, machine)
        assert len(windows) == 3
        heard += classes(np.interp(np.arange(32_000) / 16_000, np.arange(len(sound)) / rate, sound))[:5]
    assert {"Vehicle", "Engine", "Mechanisms", "Motor vehicle (road)", "Mechanical fan", "Machine"} & set(heard)


def test_without_openvino_the_speech_embedding_is_not_run(monkeypatch):
    """OpenVINO reads its file: without it, one sentence says so, and the rest of a run goes on."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        weights.WeightsNotFound, match=r"openvino, which reads the file of pyopen-wakeword, is not inst"
    ):
        find_weights("speech_embedding")


def test_a_run_with_an_audio_network(tiny, quick, tmp_path):
    """All detectors score its windows; no imaging setting changes its features, another channel or content does."""
    run = Run("fan", data=tiny, profile=quick, ids="id_00", cache=tmp_path / "cache", extractors="speech_embedding")
    run = run.with_overrides(detectors=["gmm", "b-gmm", "if", "kde", "oc-svm"])
    assert run.features("id_00", "speech_embedding").shape == (15, 25, 96)
    assert run.auc().auc.between(0, 1).all() and len(run.auc()) == 5
    assert not list((tmp_path / "cache").rglob("spectrograms"))
    key = run.stages.keys("id_00", "speech_embedding", "kde", 0)[0]
    same, other = ({"imaging.hop": 512}, {"imaging.scaling": "training"}), ({"imaging.channel": "mean"},)
    for settings in (*same, *other):
        changed = run.with_overrides(settings=settings).stages.keys("id_00", "speech_embedding", "kde", 0)[0]
        assert (changed.digest == key.digest) == (settings in same)
    waveform = run.waveform(run.recordings.clips_of("id_00").path[3])
    alone = engines.extract(audio_networks.speech_windows(waveform), run.stages.weights("speech_embedding"), Imaging())
    np.testing.assert_allclose(run.features("id_00", "speech_embedding")[3], alone, atol=1e-3)
    assert forecast([run]).missing == 0
    other_trial = run.with_overrides(seeds=[1])
    assert forecast([other_trial], measure=False).missing == 5


def test_pages_on_pictures_leave_audio_networks_out(tiny, quick, tmp_path):
    """What needs a picture takes the other networks; where there are none, the reason is plain."""
    options = {"data": tiny, "profile": quick, "ids": "id_00", "cache": tmp_path}
    audio = Run("fan", extractors="speech_embedding", **options)
    for refused in (lambda: explanations.trained_systems([audio]), lambda: open_points.measured_part([audio])):
        with pytest.raises(NotRun, match="network of pictures"):
            refused()
    both = Run("fan", extractors="speech_embedding squeezenet1_1", **options)
    assert explanations.trained_systems([both]) == {both: [("squeezenet1_1", "kde")]}
    assert both.results.image_extractors == ["squeezenet1_1"]
    assert "numbers per image" not in figures.pipeline(audio).data


def test_an_audio_network_of_ones_own(monkeypatch, tiny, quick, tmp_path):
    """A registered front end and network run like the others, and the features follow the front end's code."""
    monkeypatch.setitem(EXTRACTORS, "levels", None)  # leaves nothing of that name behind
    keys = []
    for height in (4, 5):
        del EXTRACTORS["levels"]

        def network():
            return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 2))

        if height == 4:

            def front_end(waveform):
                return np.abs(waveform[:80_000]).reshape(5, 4, 2, -1).mean(-1)
        else:

            def front_end(waveform):
                return np.abs(waveform[:80_000]).reshape(5, 4, 2, -1).max(-1)

        extractors.register(Extractor("levels", "Levels", 2, network, lambda net: net, seed=0, front_end=front_end))
        run = Run("fan", data=tiny, profile=quick, ids="id_00", cache=tmp_path, extractors="levels")
        keys.append(run.stages.keys("id_00", "levels", "kde", 0)[0].digest)
    assert run.features("id_00", "levels").shape == (15, 5, 2)
    assert keys[0] != keys[1]


def test_yamnets_weights_come_from_a_folder(tmp_path):
    """No package carries YAMNet: the reason names the file to put into a folder."""
    with pytest.raises(weights.WeightsNotFound, match=r"no package carries them.*yamnet\.pt into a folder"):
        find_weights("yamnet")
    torch.save(extractors.random_state_dict(extractors.get("yamnet")), tmp_path / "yamnet.pt")
    assert not find_weights("yamnet", Path(tmp_path)).stands_in
