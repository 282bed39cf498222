"""§5.1: where in a network the features are taken."""

import numpy as np
import pytest
import torch

from mimii_lib import extractors, imaging
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging
from mimii_lib.weights import Weights, find_weights

PAPER = Imaging()
DIMENSIONS = {
    "alexnet": 4096,
    "resnet18": 512,
    "resnet34": 512,
    "squeezenet1_0": 2048,
    "squeezenet1_1": 2048,
    "efficientnet_lite0": 1280,
}


@pytest.fixture(scope="module")
def patches(recordings):
    """Return a few patches of every recording: (n, 64, 64)."""
    cut = [imaging.patches(imaging.log_mel(sound, PAPER), PAPER) for sound in recordings]
    return np.concatenate([each[[3, 11]] for each in cut])[:5]


@pytest.fixture(scope="module", params=DIMENSIONS)
def untrained(request):
    """Return a network with random weights: enough to see where features are taken."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = extractors.get(request.param).classifier().state_dict()
    return Weights(request.param, "random", "0" * 64, state)


def images(patches, name):
    """Return what the network sees of patches: (n, 3, 224, 224)."""
    extractor = extractors.get(name)
    return imaging.extractor_input(imaging.pictures(patches, PAPER), extractor.mean, extractor.std, PAPER)


def hooked(weights, layer, patches, *, output):
    """Return what goes into (or comes out of) a layer in the network's own forward pass."""
    net, seen = extractors.classifier(weights), []
    net.get_submodule(layer).register_forward_hook(lambda _, given, made: seen.append(made if output else given[0]))
    with torch.inference_mode():
        net(images(patches, weights.extractor))
    return seen[0].numpy()


def test_all_of_the_papers_networks_are_there():
    """The paper's four networks, two versions of SqueezeNet among them, and EfficientNet-Lite0 can extract."""
    assert {name: extractor.dimension for name, extractor in extractors.EXTRACTORS.items()} == DIMENSIONS


def test_dimension_of_the_features(untrained, patches):
    """A patch becomes a vector of 4096 (AlexNet), 512 (ResNets), 2048 (SqueezeNets) or 1280 numbers."""
    features = extractors.extract(patches[:2], untrained, PAPER)
    assert features.shape == (2, DIMENSIONS[untrained.extractor])
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert not np.array_equal(features[0], features[1])


@pytest.mark.parametrize(
    ("untrained", "last"),
    [("alexnet", "classifier.6"), ("resnet18", "fc"), ("resnet34", "fc"), ("efficientnet_lite0", "_fc")],
    indirect=["untrained"],
)
def test_features_are_what_the_last_layer_sees(untrained, last, patches):
    """AlexNet's, the ResNets' and EfficientNet's features are the input of the layer that names the class."""
    expected = hooked(untrained, last, patches[:2], output=False)
    features = extractors.extract(patches[:2], untrained, PAPER)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("untrained", ["alexnet"], indirect=True)
def test_alexnets_features_are_penultimate_activations(untrained, patches):
    """AlexNet's features come behind the second fully connected layer's ReLU: none is negative, some are 0."""
    features = extractors.extract(patches[:2], untrained, PAPER)
    expected = hooked(untrained, "classifier.5", patches[:2], output=True)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * expected.max())
    assert (features >= 0).all()
    assert (features == 0).any()


def test_squeezenets_features_are_its_last_map_pooled(patches):
    """SqueezeNet's features are the averages of the four overlapping quarters of its last 13 x 13 map."""
    found = find_weights("squeezenet1_1")
    last = hooked(found, "features", patches, output=True)
    assert last.shape[1:] == (512, 13, 13)
    halves = slice(0, 7), slice(6, 13)
    quarters = [[last[:, :, rows, columns].mean((2, 3)) for columns in halves] for rows in halves]
    expected = np.stack([np.stack(row, axis=-1) for row in quarters], axis=-2).reshape(len(patches), 2048)
    features = extractors.extract(patches, found, PAPER)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_features_do_not_depend_on_the_batch(patches, monkeypatch):
    """A patch has the same features alone, in a small batch and among many."""
    found = find_weights("squeezenet1_1")
    together = extractors.extract(patches, found, PAPER)
    for batch in (1, 2):
        monkeypatch.setattr(extractors, "BATCH", batch)
        np.testing.assert_allclose(
            extractors.extract(patches, found, PAPER), together, rtol=1e-3, atol=1e-5 * together.max()
        )


def test_features_are_the_same_every_time(patches):
    """Nothing in an extractor draws random numbers."""
    found = find_weights("squeezenet1_1")
    np.testing.assert_array_equal(*(extractors.extract(patches, found, PAPER) for _ in range(2)))


def test_an_extractor_that_is_not_known():
    """An extractor that is not there is an error that names those that are."""
    with pytest.raises(MimiiError, match="vgg.*alexnet, resnet18"):
        extractors.get("vgg")
