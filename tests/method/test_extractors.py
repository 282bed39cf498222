"""§5.1: where in a network the features are taken, and what computes them."""

import dataclasses
import sys
from collections import OrderedDict
from functools import cache
from importlib.metadata import version

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from mimii_lib import extractors, imaging
from mimii_lib.data.weights import find_weights
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import EXTRACTORS, Extractor
from mimii_lib.run import engines
from mimii_lib.run.profiles import Profile, with_parameters
from mimii_lib.settings import Features, Imaging

stated = pytest.mark.paper
PAPER = Imaging()
DIMENSIONS = {"alexnet": 4096, "resnet18": 512, "resnet34": 512, "squeezenet1_0": 2048, "squeezenet1_1": 2048}
DIMENSIONS |= {f"efficientnet_lite{number}": 1280 for number in range(3)}
both_engines = pytest.mark.parametrize("engine", ["openvino", "torch"])


@pytest.fixture(scope="module")
def patches(recordings):
    """Return nine patches of all recordings: (9, 64, 64)."""
    clips = [imaging.patches(imaging.log_mel(sound, PAPER), PAPER) for sound in recordings]
    return np.resize(np.concatenate([clip[[3, 9, 15]] for clip in clips]), (9, 64, 64))


def random_weights(name, folder):
    """Return random weights of a network: enough to see where features are taken."""
    torch.save(extractors.random_state_dict(extractors.get(name)), folder / f"{name}.pt")
    return find_weights(name, folder, ["folder"])


@pytest.fixture(scope="module")
def untrained(patches, tmp_path_factory):
    """Return a function that returns random weights of a network, and OpenVINO's features of three patches by them."""

    @cache
    def untrained(name):
        weights = random_weights(name, tmp_path_factory.mktemp("random"))
        return weights, extract(patches[:3], weights)

    return untrained


@pytest.fixture(scope="module")
def squeezenet():
    return find_weights("squeezenet1_1", sources=["package"])


def extract(patches, weights, engine="openvino", **features):
    return engines.extract(patches, weights, PAPER, Features(engine=engine, **features))


def at_layer(weights, layer, patches, *, output):
    """Return the input (or output) of a layer in the whole network's forward pass."""
    extractor, net, values = extractors.get(weights.extractor), engines.classifier(weights), []
    colours = imaging.standardised_colours(extractor.mean, extractor.std, PAPER)
    scaling = imaging.upscaling(64, PAPER.image_size)
    net.get_submodule(layer).register_forward_hook(lambda _, inputs, out: values.append(out if output else inputs[0]))
    with torch.inference_mode():
        net(imaging.extractor_input(torch.from_numpy(patches), colours, scaling, scaling))
    return values[0].numpy()


def assert_features(features, expected):
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


def distance(features, expected):
    """Return the norm of the difference of each patch's features, relative to the norm of the features."""
    return np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)


@stated("§3", "an extractor turns each patch into a vector", code="run.engines.extract")
@pytest.mark.parametrize("name", DIMENSIONS)
def test_dimension_of_the_features(name, untrained):
    """A patch becomes a vector of 4096 (AlexNet), 512 (ResNets), 2048 (SqueezeNets) or 1280 numbers."""
    _, features = untrained(name)
    assert features.shape == (3, DIMENSIONS[name])
    assert features.dtype == np.float32
    assert np.isfinite(features).all() and not np.array_equal(features[0], features[1])
    of_pictures = {name: extractor for name, extractor in EXTRACTORS.items() if extractor.front_end is None}
    pretrained = {name: extractor.dimension for name, extractor in of_pictures.items() if extractor.seed is None}
    assert pretrained == DIMENSIONS
    assert set(of_pictures) - set(pretrained) == {"resnet18_random", "squeezenet1_1_random"}


@stated(
    "§5.1",
    "AlexNet: the last layer but one, 4096 numbers",
    code="extractors.cut_alexnet",
    setting="features.alexnet_relu",
    remark="“two stream” is not followed: torchvision's has one; open point 12",
)
def test_alexnets_features_are_penultimate_activations(untrained, patches):
    """AlexNet's features follow the ReLU of the second fully connected layer; before it, their ReLU is the same."""
    weights, features = untrained("alexnet")
    before = extract(patches[:3], weights, alexnet_relu=False)
    assert_features(features, at_layer(weights, "classifier.5", patches[:3], output=True))
    assert (before < 0).any()
    assert_features(np.maximum(before, 0), features)


@stated("§5.1", "ResNet18: 512 numbers after the average pooling", code="extractors.without_layer")
@stated("§5.1", "ResNet34: 512 numbers after the average pooling", code="extractors.without_layer")
@pytest.mark.parametrize(
    ("name", "last"),
    [("resnet18", "fc"), ("resnet34", "fc"), ("efficientnet_lite0", "_fc"), ("efficientnet_lite2", "_fc")],
)
def test_features_are_the_input_of_the_last_layer(name, last, untrained, patches):
    """The ResNets' and EfficientNet's features are the input of the layer that names the class."""
    weights, features = untrained(name)
    assert_features(features, at_layer(weights, last, patches[:3], output=False))


@stated(
    "§5.1",
    "SqueezeNet: the last map, averaged to 2 × 2, 2048 numbers",
    code="extractors.cut_squeezenet",
    remark="1.0 or 1.1; open point 13",
)
def test_squeezenets_features_are_its_last_map_pooled(patches, squeezenet):
    """SqueezeNet's features are the averages of the four overlapping quarters of its last 13 x 13 map."""
    last = at_layer(squeezenet, "features", patches, output=True)
    assert last.shape[1:] == (512, 13, 13)
    halves = slice(0, 7), slice(6, 13)
    quarters = [last[:, :, rows, columns].mean((2, 3)) for rows in halves for columns in halves]
    assert_features(extract(patches, squeezenet), np.stack(quarters, axis=-1).reshape(len(patches), 2048))
    np.testing.assert_array_equal(*(extract(patches[:2], squeezenet, alexnet_relu=relu) for relu in (True, False)))


@both_engines
def test_features_do_not_depend_on_the_batch(engine, patches, squeezenet):
    """A patch has the same features every time, alone, in part of a batch, among many and in another order."""
    together = extract(patches, squeezenet, engine=engine)
    np.testing.assert_array_equal(extract(patches, squeezenet, engine=engine), together)
    assert (distance(extract(patches[::-1], squeezenet, engine=engine)[::-1], together) < 1e-5).all()
    for n in (0, 1, 3, 8):
        features = extract(patches[:n], squeezenet, engine=engine)
        assert features.shape == (n, 2048)
        assert (distance(features, together[:n]) < 1e-5).all()


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "squeezenet1_1", "efficientnet_lite0"])
def test_both_engines_compute_the_same(name, untrained, patches):
    """OpenVINO and torch give a network the same features of a patch, to 1e-4 of their norm."""
    weights, features = untrained(name)
    assert (distance(features, extract(patches[:3], weights, engine="torch")) <= 1e-4).all()


@both_engines
def test_bfloat16_is_near_float32(engine, patches, squeezenet):
    """In bfloat16 features stay within 5 % of those in float32, and are not the same where it is really used."""
    full, reduced = (extract(patches, squeezenet, engine=engine, precision=name) for name in ("float32", "bfloat16"))
    assert reduced.dtype == np.float32
    assert (distance(reduced, full) <= 0.05).all()
    used = engines.choose(Features(engine=engine, precision="bfloat16")).precision
    assert np.array_equal(reduced, full) == (used == "float32")


@pytest.mark.parametrize("installed", [False, True])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("gpu", [False, True])
def test_the_choice_of_the_engine(gpu, bf16, installed, monkeypatch):
    """Auto is torch on a GPU, else OpenVINO if installed; bfloat16 needs a GPU or a processor that has it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: bf16)
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", *["BF16"] * bf16])
    if not installed:
        monkeypatch.setitem(sys.modules, "openvino", None)
        with pytest.raises(MimiiError, match=r"features\.engine: openvino is not installed.*torch"):
            engines.choose(Features(engine="openvino"))
    device, fastest = "cuda" if gpu else "cpu", "openvino" if installed and not gpu else "torch"
    for named, name in [("auto", fastest), ("torch", "torch"), *[("openvino", "openvino")] * installed]:
        on = "cpu" if name == "openvino" else device
        for precision in ("float32", "bfloat16"):
            used = "bfloat16" if precision == "bfloat16" and (bf16 or on == "cuda") else "float32"
            engine = engines.choose(Features(engine=named, precision=precision))
            assert engine == engines.Engine(f"{name} {version(name)}", on, used)
            assert str(engine) == f"{name} {version(name)}, {on}, {used}"


def test_extraction_on_a_gpu(patches, squeezenet, fake_cuda, monkeypatch):
    """On a machine with a GPU the network and every batch are sent to it, and the features are those of the CPU."""
    on_cpu = extract(patches, squeezenet, engine="torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with fake_cuda:
        on_gpu = extract(patches, squeezenet, engine="auto")
    weights = len(list(engines.network(squeezenet).parameters()))
    assert fake_cuda.received >= weights + 2  # batches of 8 and 1
    assert_features(on_gpu, on_cpu)


def test_the_number_of_threads_changes_no_feature(squeezenet, patches):
    """Batches of torch are computed on one thread each, so that no sum is rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = extract(patches, squeezenet, "torch")
    torch.set_num_threads(3)
    shared = extract(patches, squeezenet, "torch")
    torch.set_num_threads(before)
    np.testing.assert_array_equal(alone, shared)


def small_network():
    """Return a network of one's own: four features, ten classes."""
    features = nn.Sequential(nn.Conv2d(3, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(OrderedDict(features=features, last=nn.Linear(4, 10)))


@both_engines
def test_an_extractor_of_ones_own(engine, monkeypatch, patches, tmp_path):
    """A registered extractor can be named, computes as the paper's do, and can be replaced, which they cannot."""
    monkeypatch.setitem(EXTRACTORS, "small", None)  # leaves nothing of that name behind
    del EXTRACTORS["small"]
    cut = extractors.without_layer("last")
    small = Extractor("small", "Small", 4, small_network, cut, mean=(0.5,) * 3, std=(0.25,) * 3)
    with pytest.raises(MimiiError, match="small.*alexnet, resnet18"):
        extractors.get("small")
    extractors.register(dataclasses.replace(small, mean=(0.1,) * 3))
    with pytest.raises(MimiiError, match="'alexnet' is taken"):
        extractors.register(dataclasses.replace(small, name="alexnet"))
    assert with_parameters(Profile(), extractors="small alexnet").extractors == ("small", "alexnet")
    weights = random_weights("small", tmp_path)
    other = extract(patches, weights, engine=engine)
    extractors.register(small)
    features = extract(patches, weights, engine=engine)
    assert features.shape == (9, 4)
    assert not np.allclose(features, other)
    assert (distance(features, at_layer(weights, "last", patches, output=False)) < 1e-4).all()
