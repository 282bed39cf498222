"""Pretrained weights: what they recognise, and what is refused."""

import dataclasses
import hashlib
import os
import pickle
import shutil
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import skimage.data
import torch
import torchvision
from torchvision.transforms import functional

from mimii_lib import extractors, weights
from mimii_lib.errors import MimiiError

PHOTOS = {  # ImageNet classes that are right, and how many guesses a network has
    "chelsea": (range(281, 286), 1),  # domestic cats
    "coffee": ([967], 1),  # espresso
    "camera": ([872], 1),  # tripod
    "rocket": ([657, 744, 812], 5),  # missile, projectile, space shuttle
    "stereo_motorcycle": ([665, 670], 5),  # moped, motor scooter
}
NETWORKS = ["squeezenet1_1", "efficientnet_lite0", "resnet18", "squeezenet1_0"]


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
    if request.param in weights.PACKAGED:
        found = weights.find_weights(request.param)
    else:
        folder = request.getfixturevalue("shared") / "weights"
        if not (folder / f"{request.param}.pt").is_file():
            pytest.skip(f"needs weights of {request.param}")
        found = weights.find_weights(request.param, folder)
    return extractors.get(request.param), extractors.classifier(found)


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
    packaged = weights.PACKAGED["squeezenet1_1"]
    path = Path(find_spec(packaged.module).origin).parent / packaged.file
    assert hashlib.sha256(path.read_bytes()).hexdigest() == packaged.sha256
    with path.open("rb") as file:
        return path, pickle.load(file, encoding="latin1")


def test_folded_preprocessing_is_caffes(caffe):
    """Logits from RGB as torchvision standardises it equal those from BGR in 0..255 minus Caffe's mean."""
    state = dict(weights.find_weights("squeezenet1_1").state)
    folded = extractors.classifier(weights.Weights("squeezenet1_1", "test", "", state))
    kernel, bias = (torch.from_numpy(np.array(array)) for array in caffe[1]["conv1"])
    state["features.0.weight"], state["features.0.bias"] = kernel.permute(3, 2, 0, 1), bias.reshape(-1)
    raw = extractors.classifier(weights.Weights("squeezenet1_1", "test", "", state))
    for name in PHOTOS:
        rgb = photo(name)
        blue_first = 255 * rgb.flip(1) - torch.tensor([104.006, 116.669, 122.679]).view(3, 1, 1)
        with torch.inference_mode():
            expected = raw(blue_first)
            found = folded(functional.normalize(rgb, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        assert (found - expected).norm() < 1e-3 * expected.norm()


def test_every_weight_of_the_package_is_used(caffe):
    """Every array of the package's file lands in the network, none is left at its initial value."""
    state = weights.find_weights("squeezenet1_1").state
    assert sum(tensor.numel() for tensor in state.values()) == sum(
        np.asarray(array).size for pair in caffe[1].values() for array in pair
    )
    expected = {name: tensor.shape for name, tensor in torchvision.models.squeezenet1_1().state_dict().items()}
    assert {name: tensor.shape for name, tensor in state.items()} == expected


@pytest.mark.parametrize("name", weights.PACKAGED)
def test_package_weights_say_where_they_come_from(name):
    """Weights of a package come with the package, its version and the sha256 of the file."""
    found = weights.find_weights(name)
    assert found.source.startswith(f"package: {weights.PACKAGED[name].package} ")
    assert found.sha256 == weights.PACKAGED[name].sha256


def test_a_file_with_another_hash_is_not_opened(caffe, tmp_path, monkeypatch):
    """A package's file of which one byte was changed is refused before anything reads it."""

    def opened(path):
        raise AssertionError(f"{path} was opened")

    packaged = weights.PACKAGED["squeezenet1_1"]
    target = tmp_path / "tampered_ndf" / packaged.file
    target.parent.mkdir(parents=True)
    (tmp_path / "tampered_ndf" / "__init__.py").write_text("")
    content = bytearray(caffe[0].read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    tampered = dataclasses.replace(packaged, module="tampered_ndf", load=opened)
    monkeypatch.setitem(weights.PACKAGED, "squeezenet1_1", tampered)
    with pytest.raises(MimiiError, match="sha256.*reinstall"):
        weights.find_weights("squeezenet1_1")
    target.write_bytes(caffe[0].read_bytes())
    with pytest.raises(AssertionError, match="was opened"):
        weights.find_weights("squeezenet1_1")


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
        weights.PACKAGED["squeezenet1_1"].load(file)
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
    assert all(torch.equal(found.state[name], tensor) for name, tensor in expected.items())


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
        weights.find_weights("squeezenet1_1", tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_folders_file_that_is_none(content, tmp_path):
    """A user's file that is no state dict is an error that names it."""
    (tmp_path / "resnet34.pt").write_bytes(content)
    with pytest.raises(MimiiError, match=r"resnet34\.pt.*replace the file"):
        weights.find_weights("resnet34", tmp_path)


def test_weights_of_another_network(folder):
    """A state dict that does not fit the network is an error that names both."""
    shutil.copy(folder / "squeezenet1_1.pt", folder / "resnet18.pt")
    with pytest.raises(MimiiError, match=r"resnet18 \(folder: resnet18\.pt\) do not fit") as error:
        extractors.classifier(weights.find_weights("resnet18", folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [torch.zeros(3), {"features.0.weight": "text"}, [1, 2]], ids=["tensor", "text", "list"]
)
def test_a_file_that_holds_no_state_dict(content, tmp_path):
    """A user's file of something else than named tensors is an error of one sentence, whenever it is found out."""
    torch.save(content, tmp_path / "squeezenet1_1.pt")
    with pytest.raises(MimiiError, match="squeezenet1_1") as error:
        extractors.classifier(weights.find_weights("squeezenet1_1", tmp_path))
    assert "\n" not in str(error.value)


def _unreachable(monkeypatch, error):
    def fail(self, *args, **kwargs):
        raise error

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fail)


def test_unreachable_weights_are_told_with_the_remedy(monkeypatch, tmp_path):
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


def test_a_download_that_is_not_the_file(monkeypatch):
    """A download whose hash is wrong, as behind a captive portal, is an error of one sentence and no weights."""
    _unreachable(monkeypatch, RuntimeError('invalid hash value (expected "b627a593", got "0badcafe")'))
    with pytest.raises(MimiiError, match="resnet34.*invalid hash"):
        weights.find_weights("resnet34")


def test_weights_are_never_random(monkeypatch):
    """Two searches find the same weights."""
    first, second = (weights.find_weights("squeezenet1_1") for _ in range(2))
    assert first == second
    assert all(torch.equal(first.state[name], second.state[name]) for name in first.state)
