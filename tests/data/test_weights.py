"""Pretrained weights: what they recognise, and what is refused."""

import dataclasses
import hashlib
import os
import pickle
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from bad_server import BadServer, Fault
from torchvision.transforms import functional

from mimii_lib import extractors
from mimii_lib.data import weights
from mimii_lib.data.weights import BUNDLED
from mimii_lib.errors import MimiiError
from mimii_lib.run import engines

PHOTOS = {  # ImageNet classes that are right, and how many guesses a network has
    "chelsea": (range(281, 286), 1),  # domestic cats
    "coffee": ([967], 1),  # espresso
    "camera": ([872], 1),  # tripod
    "rocket": ([657, 744, 812], 5),  # missile, projectile, space shuttle
    "stereo_motorcycle": ([665, 670], 5),  # moped, motor scooter
}
NETWORKS = ["squeezenet1_1", *(f"efficientnet_lite{number}" for number in range(3)), "resnet18", "squeezenet1_0"]


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path_factory):
    """Return an empty folder that stands for torchvision's cache; nothing is downloaded unless a test allows it."""
    folder = tmp_path_factory.mktemp("torch")
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setenv(weights.OFFLINE, "1")
    return folder / "hub" / "checkpoints"


@pytest.fixture
def online(monkeypatch):
    monkeypatch.delenv(weights.OFFLINE)


def photo(name):
    """Return a photo that scikit-image carries, cropped as ImageNet's are: (1, 3, 224, 224) in [0, 1]."""
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image
    image = np.stack([image] * 3, axis=-1) if image.ndim == 2 else image
    tensor = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    return functional.center_crop(functional.resize(tensor, 256, antialias=True), 224)[None]


@pytest.fixture(scope="module", params=NETWORKS)
def classifier(request):
    """Return an extractor and its whole network, of a package or else of the folder of reference files."""
    folder = None if request.param in BUNDLED else request.getfixturevalue("shared") / "weights"
    if folder and not (folder / f"{request.param}.pt").is_file():
        pytest.skip(f"needs weights of {request.param}")
    local = weights.find_weights(request.param, folder, ["folder" if folder else "package"])
    return extractors.get(request.param), engines.classifier(local)


@pytest.mark.paper("§5.1", "networks that were trained on ImageNet", code="data.weights.find_weights")
@pytest.mark.parametrize("name", PHOTOS)
def test_a_pretrained_network_recognises_photos(classifier, name):
    """Weights that were read right see a cat, a cup of espresso, a tripod, a rocket and a motorcycle."""
    extractor, net = classifier
    right, guesses = PHOTOS[name]
    with torch.inference_mode():
        logits = net(functional.normalize(photo(name), extractor.mean, extractor.std))
    assert set(logits[0].topk(guesses).indices.tolist()) & set(right)


def test_a_network_from_caffe_gives_caffes_logits():
    """Every array of the file is used, and RGB as torchvision standardises it gives what BGR gave in Caffe."""
    arrays = pickle.loads(BUNDLED["squeezenet1_1"].path().read_bytes(), encoding="latin1")
    package = weights.find_weights("squeezenet1_1")
    state = package.state()
    assert sum(map(torch.numel, state.values())) == sum(array.size for pair in arrays.values() for array in pair)
    folded, raw = engines.classifier(package), engines.classifier(package)
    kernel, bias = (torch.from_numpy(np.array(array)) for array in arrays["conv1"])
    raw.load_state_dict(state | {"features.0.weight": kernel.permute(3, 2, 0, 1), "features.0.bias": bias.reshape(-1)})
    for name in PHOTOS:
        rgb = photo(name)
        bgr = 255 * rgb.flip(1) - torch.tensor([104.006, 116.669, 122.679]).view(3, 1, 1)
        with torch.inference_mode():
            logits = folded(functional.normalize(rgb, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
            expected = raw(bgr)
        assert (logits - expected).norm() < 1e-3 * expected.norm()


def test_a_file_with_another_hash_is_not_opened(monkeypatch):
    """A package's file is known by its sha256, and refused before anything reads it where that is another."""
    for name, bundled in BUNDLED.items():
        local = weights.find_weights(name)
        assert (local.source.split(" ")[1], local.sha256) == (bundled.package, bundled.sha256)
        other = dataclasses.replace(bundled, sha256="0" * 64, load=lambda _: pytest.fail("it was opened"))
        monkeypatch.setitem(BUNDLED, name, other)
        with pytest.raises(MimiiError, match="sha256.*reinstall"):
            weights.find_weights(name)


@pytest.mark.parametrize("call", [(os.mkdir,), (Path,), (np.save, np.zeros(2))])
def test_a_file_cannot_run_code(call, tmp_path):
    """Neither a package's pickle nor a user's file calls anything but the making of arrays and tensors."""
    calls = type("Calls", (), {"__reduce__": lambda self: (call[0], (str(tmp_path / "made"), *call[1:]))})
    content = {"conv1": [calls(), np.zeros(2)]}
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(pickle.UnpicklingError, match="not part of a numpy array"):
        BUNDLED["squeezenet1_1"].load(tmp_path / "weights.pkl")
    torch.save(content, tmp_path / "squeezenet1_1.pt")
    with pytest.raises(MimiiError, match=r"squeezenet1_1\.pt.*weights_only"):
        weights.find_weights("squeezenet1_1", tmp_path).state()
    assert not list(tmp_path.glob("made*"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder that holds a state dict for squeezenet1_1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1.pt")
    return tmp_path


def test_a_folder_is_named_by_a_parameter_or_the_environment(folder, monkeypatch):
    """A file in the folder that a parameter or MIMII_WEIGHTS names is taken as it is."""
    local = weights.find_weights("squeezenet1_1", folder)
    assert local.source == "folder: squeezenet1_1.pt"
    assert local.sha256 == hashlib.sha256((folder / "squeezenet1_1.pt").read_bytes()).hexdigest()
    expected, state = torch.load(folder / "squeezenet1_1.pt", weights_only=True), local.state()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert local.stands_in
    monkeypatch.setenv("MIMII_WEIGHTS", str(folder))
    assert weights.find_weights("squeezenet1_1") == local


@pytest.mark.parametrize("content", [b"", torch.zeros(3), {"features.0.weight": "text"}, [1, 2]], ids=type)
def test_a_file_that_holds_no_state_dict(content, tmp_path):
    """A user's file of something else than named tensors is an error of one sentence that names the network."""
    file = tmp_path / "squeezenet1_1.pt"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(MimiiError, match=r"\A.*squeezenet1_1.*\Z"):
        engines.classifier(weights.find_weights("squeezenet1_1", tmp_path))


def test_files_that_are_not_the_right_ones(folder):
    """Weights of another network, a file that changed since it was found, and a missing folder are errors."""
    shutil.copy(folder / "squeezenet1_1.pt", folder / "resnet18.pt")
    with pytest.raises(MimiiError, match=r"resnet18 \(folder: resnet18\.pt\) do not fit"):
        engines.classifier(weights.find_weights("resnet18", folder))
    local = weights.find_weights("squeezenet1_1", folder)
    (folder / "squeezenet1_1.pt").write_bytes(b"other weights")
    with pytest.raises(MimiiError, match=r"squeezenet1_1\.pt: changed since it was found"):
        local.state()
    with pytest.raises(MimiiError, match="nowhere: no such folder"):
        weights.find_weights("squeezenet1_1", folder / "nowhere")


@pytest.fixture
def published(monkeypatch, folder):
    """Return a file that stands for what torchvision publishes of squeezenet1_1, its sha256 in its name."""
    digest = hashlib.sha256((folder / "squeezenet1_1.pt").read_bytes()).hexdigest()
    path = folder / "published" / f"squeezenet1_1-{digest[:8]}.pth"
    path.parent.mkdir()
    shutil.copy(folder / "squeezenet1_1.pt", path)
    _publish(monkeypatch, path.as_uri())
    return path


def _publish(monkeypatch, url):
    entry = torchvision.models.get_model_weights("squeezenet1_1")["IMAGENET1K_V1"]
    monkeypatch.setattr(entry.value, "url", url)


def _source(name="squeezenet1_1", *where):
    return weights.find_weights(name, *where).source.partition(":")[0]


def test_a_folder_comes_first_then_torchvision_then_a_package(folder, published, online, hub, capsys):
    """A source is tried if those before it have nothing; a download is kept, loads offline, and prints nothing."""
    assert list(weights.SOURCES) == ["folder", "torchvision", "package"]
    assert _source("squeezenet1_1", folder) == "folder"
    assert not hub.exists()
    local = weights.find_weights("squeezenet1_1")
    assert local.source == "torchvision: SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert (local.path, local.sha256) == (hub / published.name, hashlib.sha256(published.read_bytes()).hexdigest())
    published.unlink()
    assert weights.find_weights("squeezenet1_1") == local
    local.path.unlink()
    assert _source("squeezenet1_1") == "package"
    assert capsys.readouterr() == ("", "")


def test_sources_may_be_restricted(folder, published, online):
    """Only the sources that are named are tried, in the order in which they are named."""
    for source in weights.SOURCES:
        assert _source("squeezenet1_1", folder, [source]) == source
    assert _source("squeezenet1_1", folder, ["package", "folder"]) == "package"
    with pytest.raises(weights.WeightsNotFound, match="no folder named") as error:
        weights.find_weights("squeezenet1_1", None, ["folder"])
    assert "package" not in str(error.value) and "does not use torchvision's download" in str(error.value)


def test_torchvisions_files_are_known_by_their_hash():
    """A file of a user's folder is torchvision's own if it has the hash that torchvision publishes in its name."""
    for name, sha256 in weights.TORCHVISION.items():
        url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
        assert sha256 == Path(url).stem.rpartition("-")[2]


@pytest.mark.parametrize("content", [b"", b"Please log in"])
def test_a_file_of_torchvision_with_another_hash_is_refused(content, published, online, hub):
    """A wrong download, as behind a captive portal, is not kept; a wrong file in the cache is an error."""
    published.write_bytes(content)
    with pytest.raises(weights.WeightsNotFound, match="squeezenet1_1.*invalid hash"):
        weights.find_weights("squeezenet1_1", sources=["torchvision"])
    assert not list(hub.iterdir())
    assert _source() == "package"
    for name in weights.TORCHVISION:
        file = hub / Path(torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url).name
        file.write_bytes(content)
        with pytest.raises(MimiiError, match=f"{file.name}: has sha256 .*not the one in its name; remove"):
            weights.find_weights(name)


def test_nothing_is_downloaded_offline(published, monkeypatch):
    """With MIMII_OFFLINE set no download is begun, and what was downloaded before is used."""
    monkeypatch.delenv(weights.OFFLINE)
    before = weights.find_weights("squeezenet1_1", sources=["torchvision"])
    monkeypatch.setenv("MIMII_OFFLINE", "1")
    assert weights.find_weights("squeezenet1_1") == before
    before.path.unlink()
    assert _source() == "package"
    with pytest.raises(weights.WeightsNotFound, match="resnet34: .*not in torchvision's cache.*; put its state dict"):
        weights.find_weights("resnet34")


@pytest.mark.parametrize("cut", [0, 500])
def test_a_download_that_stalls_is_given_up(cut, online, monkeypatch, hub):
    """A server that falls silent does not hold a run up; neither a file stays nor the time limit of the download."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(weights, "DOWNLOAD_TIMEOUT", 0.5)
    name = "squeezenet1_1-01234567.pth"
    with BadServer({name: bytes(1000)}, otherwise=Fault(cut=cut, stall=60)) as server:
        _publish(monkeypatch, f"{server.url}/{name}")
        with pytest.raises(
            weights.WeightsNotFound, match="no folder named; torchvision's download failed: .*timed out"
        ):
            weights.find_weights("squeezenet1_1", sources=["folder", "torchvision"])
    assert socket.getdefaulttimeout() is None
    assert not list(hub.iterdir())
