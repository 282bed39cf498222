"""Pretrained weights: what they recognise, and what is refused."""

import dataclasses
import hashlib
import os
import pickle
import shutil
import socket
import threading
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from torchvision.transforms import functional

from mimii_lib import extractors
from mimii_lib.data import weights
from mimii_lib.data.bundled_weights import BUNDLED
from mimii_lib.errors import MimiiError
from mimii_lib.run import engines

PHOTOS = {  # ImageNet classes that are right, and how many guesses a network has
    "chelsea": (range(281, 286), 1),  # domestic cats
    "coffee": ([967], 1),  # espresso
    "camera": ([872], 1),  # tripod
    "rocket": ([657, 744, 812], 5),  # missile, projectile, space shuttle
    "stereo_motorcycle": ([665, 670], 5),  # moped, motor scooter
}
NETWORKS = ["squeezenet1_1", "efficientnet_lite0", "resnet18", "squeezenet1_0"]


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path_factory):
    """Return an empty folder that stands for torchvision's cache; nothing is downloaded unless a test allows it."""
    folder = tmp_path_factory.mktemp("torch")
    monkeypatch.setenv("TORCH_HOME", str(folder))
    monkeypatch.setenv(weights.OFFLINE, "1")
    return folder / "hub" / "checkpoints"


@pytest.fixture
def online(monkeypatch):
    """Allow downloads."""
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
    if request.param in BUNDLED:
        found = weights.find_weights(request.param, sources=["package"])
    else:
        folder = request.getfixturevalue("shared") / "weights"
        if not (folder / f"{request.param}.pt").is_file():
            pytest.skip(f"needs weights of {request.param}")
        found = weights.find_weights(request.param, folder, ["folder"])
    return extractors.get(request.param), engines.classifier(found)


@pytest.mark.paper("§5.1", "networks that were trained on ImageNet", code="data.weights.find_weights")
@pytest.mark.parametrize("name", PHOTOS)
def test_a_pretrained_network_recognises_photos(classifier, name):
    """Weights that were read right see a cat, a cup of espresso, a tripod, a rocket and a motorcycle."""
    extractor, net = classifier
    right, guesses = PHOTOS[name]
    with torch.inference_mode():
        logits = net(functional.normalize(photo(name), extractor.mean, extractor.std))
    assert set(logits[0].topk(guesses).indices.tolist()) & set(right)


@pytest.fixture(scope="module")
def caffe():
    """Return the package's file of SqueezeNet 1.1 and its arrays in Caffe's layout."""
    packaged = BUNDLED["squeezenet1_1"]
    path = Path(find_spec(packaged.module).origin).parent / packaged.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == packaged.sha256
    with path.open("rb") as file:
        return path, pickle.load(file, encoding="latin1")


def test_folded_preprocessing_is_caffes(caffe):
    """Logits from RGB as torchvision standardises it equal those from BGR in 0..255 minus Caffe's mean."""
    package = weights.find_weights("squeezenet1_1")
    folded, raw = engines.classifier(package), engines.classifier(package)
    kernel, bias = (torch.from_numpy(np.array(array)) for array in caffe[1]["conv1"])
    first = {"features.0.weight": kernel.permute(3, 2, 0, 1), "features.0.bias": bias.reshape(-1)}
    raw.load_state_dict(package.state() | first)
    for name in PHOTOS:
        rgb = photo(name)
        blue_first = 255 * rgb.flip(1) - torch.tensor([104.006, 116.669, 122.679]).view(3, 1, 1)
        with torch.inference_mode():
            expected = raw(blue_first)
            found = folded(functional.normalize(rgb, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        assert (found - expected).norm() < 1e-3 * expected.norm()


def test_every_weight_of_the_package_is_used(caffe):
    """Every array of the package's file lands in the network, none is left at its initial value."""
    state = weights.find_weights("squeezenet1_1").state()
    assert sum(tensor.numel() for tensor in state.values()) == sum(
        np.asarray(array).size for pair in caffe[1].values() for array in pair
    )
    expected = {name: tensor.shape for name, tensor in torchvision.models.squeezenet1_1().state_dict().items()}
    assert {name: tensor.shape for name, tensor in state.items()} == expected


@pytest.mark.parametrize("name", BUNDLED)
def test_package_weights_say_where_they_come_from(name):
    """Weights of a package come with the package, its version and the sha256 of the file."""
    found = weights.find_weights(name)
    assert found.source.startswith(f"package: {BUNDLED[name].package} ")
    assert found.sha256 == BUNDLED[name].sha256


def test_a_file_with_another_hash_is_not_opened(caffe, tmp_path, monkeypatch):
    """A package's file of which one byte was changed is refused before anything reads it."""
    opened = []
    packaged = BUNDLED["squeezenet1_1"]
    target = tmp_path / "tampered_ndf" / packaged.file
    target.parent.mkdir(parents=True)
    (tmp_path / "tampered_ndf" / "__init__.py").write_text("")
    content = bytearray(caffe[0].read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    tampered = dataclasses.replace(packaged, module="tampered_ndf", load=lambda path: opened.append(path) or {})
    monkeypatch.setitem(BUNDLED, "squeezenet1_1", tampered)
    with pytest.raises(MimiiError, match="sha256.*reinstall"):
        weights.find_weights("squeezenet1_1")
    assert not opened
    target.write_bytes(caffe[0].read_bytes())
    weights.find_weights("squeezenet1_1").state()
    assert opened == [target]


class _Calls:
    """An object whose pickle calls a function when it is opened."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, Path, np.save])
def test_a_pickle_cannot_run_code(function, tmp_path):
    """The unpickler refuses whatever is not the making of a numpy array, before it is called."""
    made = tmp_path / "made"
    arguments = (str(made), np.zeros(2)) if function is np.save else (str(made),)
    file = tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps({"conv1": [_Calls(function, *arguments), np.zeros(2)]}))
    with pytest.raises(pickle.UnpicklingError, match="not part of a numpy array"):
        BUNDLED["squeezenet1_1"].load(file)
    assert not list(tmp_path.glob("made*"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder that holds a state dict for squeezenet1_1."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1.pt")
    return tmp_path


def test_a_folders_weights_come_first(folder):
    """Where a folder is named its file is taken before a package's, and recorded with its sha256."""
    found = weights.find_weights("squeezenet1_1", folder)
    assert found.source == "folder: squeezenet1_1.pt"
    assert found.sha256 == hashlib.sha256((folder / "squeezenet1_1.pt").read_bytes()).hexdigest()
    expected = torch.load(folder / "squeezenet1_1.pt", weights_only=True)
    state = found.state()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_a_folder_of_the_environment(folder, monkeypatch):
    """The environment variable MIMII_WEIGHTS names a folder as the parameter does."""
    monkeypatch.setenv("MIMII_WEIGHTS", str(folder))
    assert weights.find_weights("squeezenet1_1").source == "folder: squeezenet1_1.pt"


def test_what_a_folder_lacks_comes_from_elsewhere(folder):
    """A folder without an extractor's file does not stand in the way of the other sources."""
    assert weights.find_weights("efficientnet_lite0", folder).source.startswith("package: ")


def test_a_folder_that_is_not_there(tmp_path):
    """A folder of weights that does not exist is an error, not a reason to take others."""
    with pytest.raises(MimiiError, match="nowhere: no such folder"):
        weights.find_weights("squeezenet1_1", tmp_path / "nowhere")


def test_a_folders_file_cannot_run_code(tmp_path):
    """A user's file that holds anything but tensors is refused, and nothing in it is called."""
    torch.save({"conv1": _Calls(os.mkdir, str(tmp_path / "made"))}, tmp_path / "squeezenet1_1.pt")
    with pytest.raises(MimiiError, match=r"squeezenet1_1\.pt.*weights_only"):
        weights.find_weights("squeezenet1_1", tmp_path).state()
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_folders_file_that_is_none(content, tmp_path):
    """A user's file that is no state dict is an error that names it."""
    (tmp_path / "resnet34.pt").write_bytes(content)
    with pytest.raises(MimiiError, match=r"resnet34\.pt.*replace the file"):
        weights.find_weights("resnet34", tmp_path).state()


def test_a_file_that_changed_since_it_was_found(folder):
    """A file that is replaced after its sha256 was taken is not loaded under the old one."""
    found = weights.find_weights("squeezenet1_1", folder)
    (folder / "squeezenet1_1.pt").write_bytes(b"other weights")
    with pytest.raises(MimiiError, match=r"squeezenet1_1\.pt: changed since it was found"):
        found.state()


def test_weights_of_another_network(folder):
    """A state dict that does not fit the network is an error that names both."""
    shutil.copy(folder / "squeezenet1_1.pt", folder / "resnet18.pt")
    with pytest.raises(MimiiError, match=r"resnet18 \(folder: resnet18\.pt\) do not fit") as error:
        engines.classifier(weights.find_weights("resnet18", folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [torch.zeros(3), {"features.0.weight": "text"}, [1, 2]], ids=["tensor", "text", "list"]
)
def test_a_file_that_holds_no_state_dict(content, tmp_path):
    """A user's file of something else than named tensors is an error of one sentence, whenever it is found out."""
    torch.save(content, tmp_path / "squeezenet1_1.pt")
    with pytest.raises(MimiiError, match="squeezenet1_1") as error:
        engines.classifier(weights.find_weights("squeezenet1_1", tmp_path))
    assert "\n" not in str(error.value)


def _unreachable(monkeypatch, error):
    def fail(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fail)


def test_unreachable_weights_are_told_with_the_remedy(monkeypatch, online, tmp_path):
    """Without a network ResNet34's weights are not found: the error says what was tried and what to do."""
    _unreachable(monkeypatch, URLError("Name or service not known"))
    with pytest.raises(weights.WeightsNotFound, match="resnet34: weights not reachable") as error:
        weights.find_weights("resnet34", tmp_path)
    for part in (
        "no resnet34.pt in",
        "no package",
        "Name or service not known",
        "put its state dict as resnet34.pt",
    ):
        assert part in str(error.value)
    assert "\n" not in str(error.value)


# The order of the sources


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


def _kind(found):
    return found.source.partition(":")[0]


def test_a_folder_comes_first_then_torchvision_then_a_package(folder, published, online):
    """Weights come from the folder, without it from torchvision, and without that from a package."""
    assert list(weights.SOURCES) == ["folder", "torchvision", "package"]
    assert _kind(weights.find_weights("squeezenet1_1", folder)) == "folder"
    found = weights.find_weights("squeezenet1_1")
    assert found.source == "torchvision: SqueezeNet1_1_Weights.IMAGENET1K_V1"
    assert found.sha256 == hashlib.sha256(published.read_bytes()).hexdigest()
    found.path.unlink()
    published.unlink()
    assert _kind(weights.find_weights("squeezenet1_1")) == "package"


def test_no_source_is_tried_after_one_that_has_the_weights(folder, published, online, monkeypatch):
    """Once a source has the weights those behind it are not even looked at."""
    tried = []
    for name, source in list(weights.SOURCES.items()):
        monkeypatch.setitem(
            weights.SOURCES, name, lambda *given, name=name, source=source: tried.append(name) or source(*given)
        )
    weights.find_weights("squeezenet1_1", folder)
    assert tried == ["folder"]
    weights.find_weights("squeezenet1_1")
    assert tried == ["folder", "folder", "torchvision"]
    weights.find_weights("efficientnet_lite0", folder)
    assert tried[3:] == ["folder", "torchvision", "package"]


def test_sources_may_be_restricted(folder, published, online):
    """Only the sources that are named are tried, in the order in which they are named."""
    for source in weights.SOURCES:
        assert _kind(weights.find_weights("squeezenet1_1", folder, [source])) == source
    assert _kind(weights.find_weights("squeezenet1_1", folder, ["package", "folder"])) == "package"
    with pytest.raises(weights.WeightsNotFound, match="no folder named") as error:
        weights.find_weights("squeezenet1_1", None, ["folder"])
    assert "package" not in str(error.value)
    with pytest.raises(weights.WeightsNotFound, match="no resnet34.pt in"):
        weights.find_weights("resnet34", folder, ["folder"])


# Downloads


def test_a_download_is_kept_and_loads(published, online, hub):
    """What was downloaded lies in torchvision's own cache, is loaded from there, and is not fetched again."""
    found = weights.find_weights("squeezenet1_1", sources=["torchvision"])
    assert found.path == hub / published.name
    expected = torch.load(published, weights_only=True)
    published.unlink()
    again = weights.find_weights("squeezenet1_1", sources=["torchvision"])
    assert again == found
    state = again.state()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())


def test_a_download_prints_nothing(published, online, capsys):
    """A download leaves nothing on a page: no bar, and no path of this machine."""
    weights.find_weights("squeezenet1_1", sources=["torchvision"])
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_a_download_that_is_not_the_file(published, online, hub):
    """A download whose hash is wrong, as behind a captive portal, gives no weights and is not kept."""
    published.write_bytes(b"Please log in")
    with pytest.raises(weights.WeightsNotFound, match="squeezenet1_1.*invalid hash") as error:
        weights.find_weights("squeezenet1_1", sources=["torchvision"])
    assert "\n" not in str(error.value)
    assert not list(hub.iterdir())
    assert _kind(weights.find_weights("squeezenet1_1")) == "package"


@pytest.mark.parametrize("content", [b"", b"other weights"])
def test_a_cached_file_with_another_hash_is_refused(content, published, hub):
    """A file in torchvision's cache that is not the one of its name is an error with the remedy, not passed over."""
    hub.mkdir(parents=True)
    (hub / published.name).write_bytes(content)
    with pytest.raises(MimiiError, match=f"{published.name}: has sha256 .*not the one in its name; remove") as error:
        weights.find_weights("squeezenet1_1")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "resnet34", "squeezenet1_0", "squeezenet1_1"])
def test_torchvisions_files_have_their_hash_in_their_names(name, hub):
    """Of each of the paper's networks torchvision's file is known by its hash: an empty one is refused."""
    hub.mkdir(parents=True)
    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    (hub / Path(url).name).touch()
    with pytest.raises(MimiiError, match="not the one in its name"):
        weights.find_weights(name, sources=["torchvision"])


def test_nothing_is_downloaded_offline(published, monkeypatch):
    """With MIMII_OFFLINE set no download is begun, and what was downloaded before is used."""
    monkeypatch.delenv(weights.OFFLINE)
    before = weights.find_weights("squeezenet1_1", sources=["torchvision"])
    monkeypatch.setenv("MIMII_OFFLINE", "1")
    _unreachable(monkeypatch, AssertionError("a download was begun"))
    assert weights.find_weights("squeezenet1_1") == before
    before.path.unlink()
    assert _kind(weights.find_weights("squeezenet1_1")) == "package"
    with pytest.raises(weights.WeightsNotFound, match="not in torchvision's cache"):
        weights.find_weights("resnet34")


@pytest.fixture(params=["at once", "half way"])
def stalling(request, monkeypatch):
    """Return the address of a server that accepts and then says nothing more, or half of what it promised."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    if request.param == "half way":
                        connection.recv(10_000)
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(500))
                    over.wait()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_download_that_stalls_is_given_up(stalling, online, monkeypatch, hub):
    """A server that accepts and falls silent does not hold a run up, and leaves neither a file nor a time limit."""
    monkeypatch.setattr(weights, "DOWNLOAD_TIMEOUT", 0.5)
    _publish(monkeypatch, f"{stalling}/squeezenet1_1-01234567.pth")
    with pytest.raises(weights.WeightsNotFound, match="download failed: .*timed out"):
        weights.find_weights("squeezenet1_1", sources=["torchvision"])
    assert socket.getdefaulttimeout() is None
    assert not list(hub.iterdir())


def test_the_time_limit_of_a_download_is_restored(online, monkeypatch):
    """A download has its own time limit for silence; the caller's comes back, however the download ends."""
    limits = []

    def fail(self, *args, **kwargs):
        limits.append(socket.getdefaulttimeout())
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fail)
    socket.setdefaulttimeout(77.0)
    try:
        with pytest.raises(weights.WeightsNotFound):
            weights.find_weights("resnet34")
        assert socket.getdefaulttimeout() == 77.0
    finally:
        socket.setdefaulttimeout(None)
    assert limits == [weights.DOWNLOAD_TIMEOUT]


def test_weights_are_never_random():
    """Two searches find the same weights."""
    first, second = (weights.find_weights("squeezenet1_1") for _ in range(2))
    assert first == second
    once, again = first.state(), second.state()
    assert all(torch.equal(once[name], again[name]) for name in once)
