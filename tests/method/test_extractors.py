"""§5.1: where in a network the features are taken, and what computes them."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mimii_lib import extractors, imaging
from mimii_lib.data.weights import find_weights
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import EXTRACTORS, Extractor
from mimii_lib.run import engines
from mimii_lib.run.profiles import Profile, load_profile, with_parameters
from mimii_lib.settings import Features, Imaging

PAPER = Imaging()
DIMENSIONS = {
    "alexnet": 4096,
    "resnet18": 512,
    "resnet34": 512,
    "squeezenet1_0": 2048,
    "squeezenet1_1": 2048,
    "efficientnet_lite0": 1280,
}
ENGINES = ["openvino", "torch"]


@pytest.fixture(scope="module")
def patches(recordings):
    """Return nine patches of all recordings: (9, 64, 64)."""
    cut = [imaging.patches(imaging.log_mel(sound, PAPER), PAPER) for sound in recordings]
    return np.resize(np.concatenate([each[[3, 9, 15]] for each in cut]), (9, 64, 64))


def random_weights(name, folder):
    """Return random weights of a network, drawn once in a folder: enough to see where features are taken."""
    if not (file := folder / f"{name}.pt").is_file():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(extractors.get(name).network().state_dict(), file)
    return find_weights(name, folder, ["folder"])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Return a folder for random weights."""
    return tmp_path_factory.mktemp("random")


@pytest.fixture(scope="module", params=DIMENSIONS)
def untrained(request, drawn):
    """Return a network's random weights."""
    return random_weights(request.param, drawn)


@pytest.fixture(scope="module")
def squeezenet():
    """Return pretrained weights of SqueezeNet 1.1."""
    return find_weights("squeezenet1_1", sources=["package"])


def images(patches, name):
    """Return what the network sees of patches: (n, 3, 224, 224)."""
    extractor = extractors.get(name)
    colours = imaging.standardised_colours(extractor.mean, extractor.std, PAPER)
    scaling = imaging.upscaling(64, PAPER)
    return imaging.extractor_input(torch.from_numpy(patches), colours, scaling, scaling)


def hooked(weights, layer, patches, *, output):
    """Return what goes into (or comes out of) a layer in the network's own forward pass."""
    net, seen = engines.classifier(weights), []
    net.get_submodule(layer).register_forward_hook(lambda _, given, made: seen.append(made if output else given[0]))
    with torch.inference_mode():
        net(images(patches, weights.extractor))
    return seen[0].numpy()


def distance(found, expected):
    """Return the norm of the difference of two patches' features, relative to the features' own: one per patch."""
    return np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)


def test_all_of_the_papers_networks_are_there():
    """The paper's four networks, two versions of SqueezeNet among them, and EfficientNet-Lite0 can extract.

    And two of them as they are before a training.
    """
    found = {name: each.dimension for name, each in EXTRACTORS.items() if each.seed is None}
    assert found == DIMENSIONS
    assert set(EXTRACTORS) - set(found) == {"resnet18_random", "squeezenet1_1_random"}


def test_dimension_of_the_features(untrained, patches):
    """A patch becomes a vector of 4096 (AlexNet), 512 (ResNets), 2048 (SqueezeNets) or 1280 numbers."""
    features = engines.extract(patches[:2], untrained, PAPER)
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
    features = engines.extract(patches[:2], untrained, PAPER)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("untrained", ["alexnet"], indirect=True)
def test_alexnets_features_are_penultimate_activations(untrained, patches):
    """AlexNet's features come behind the second fully connected layer's ReLU: none is negative, some are 0."""
    features = engines.extract(patches[:2], untrained, PAPER)
    expected = hooked(untrained, "classifier.5", patches[:2], output=True)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * expected.max())
    assert (features >= 0).all()
    assert (features == 0).any()


def test_squeezenets_features_are_its_last_map_pooled(patches, squeezenet):
    """SqueezeNet's features are the averages of the four overlapping quarters of its last 13 x 13 map."""
    last = hooked(squeezenet, "features", patches, output=True)
    assert last.shape[1:] == (512, 13, 13)
    halves = slice(0, 7), slice(6, 13)
    quarters = [[last[:, :, rows, columns].mean((2, 3)) for columns in halves] for rows in halves]
    expected = np.stack([np.stack(row, axis=-1) for row in quarters], axis=-2).reshape(len(patches), 2048)
    features = engines.extract(patches, squeezenet, PAPER)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-5 * expected.max())


@pytest.mark.parametrize("engine", ENGINES)
def test_features_do_not_depend_on_the_batch(engine, patches, squeezenet):
    """A patch has the same features alone, in part of a batch and among many."""
    settings = Features(engine=engine)
    together = engines.extract(patches, squeezenet, PAPER, settings)
    for n in (1, 2, 3, 8):
        found = engines.extract(patches[:n], squeezenet, PAPER, settings)
        assert found.shape == (n, 2048)
        assert (distance(found, together[:n]) < 1e-5).all()
    assert engines.extract(patches[:0], squeezenet, PAPER, settings).shape == (0, 2048)


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_in_the_order_of_the_patches(engine, patches, squeezenet):
    """However many are computed at once, each patch gets its own features: the reverse gives the reverse."""
    settings = Features(engine=engine)
    found = engines.extract(patches, squeezenet, PAPER, settings)
    reverse = engines.extract(patches[::-1], squeezenet, PAPER, settings)
    assert (distance(reverse[::-1], found) < 1e-5).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_the_same_every_time(engine, patches, squeezenet):
    """Nothing in an extractor draws random numbers."""
    settings = Features(engine=engine)
    np.testing.assert_array_equal(*(engines.extract(patches, squeezenet, PAPER, settings) for _ in range(2)))


# What computes


@pytest.mark.parametrize("name", ["squeezenet1_1", "efficientnet_lite0"])
def test_both_engines_compute_the_same(name, patches):
    """OpenVINO and torch give one pretrained network the same features of a patch, to 1e-4 of their norm."""
    found = find_weights(name, sources=["package"])
    openvino, torchs = (engines.extract(patches, found, PAPER, Features(engine=engine)) for engine in ENGINES)
    assert (distance(openvino, torchs) <= 1e-4).all()


@pytest.mark.parametrize("untrained", ["alexnet", "resnet18"], indirect=True)
def test_both_engines_compute_the_same_on_random_weights(untrained, patches):
    """Networks whose weights cannot be packaged are the same on both engines, too."""
    some = patches[:3]
    openvino, torchs = (engines.extract(some, untrained, PAPER, Features(engine=engine)) for engine in ENGINES)
    assert (distance(openvino, torchs) <= 1e-4).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_is_near_float32(engine, patches, squeezenet):
    """In bfloat16 features stay within 5 % of those in float32, and are not the same where it is really used."""
    reduced = Features(engine=engine, precision="bfloat16")
    full, short = (engines.extract(patches, squeezenet, PAPER, each) for each in (Features(engine=engine), reduced))
    assert short.dtype == np.float32
    assert (distance(short, full) <= 0.05).all()
    assert np.array_equal(short, full) == (engines.choose(reduced).precision == "float32")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engine_says_what_is_really_used(engine, monkeypatch):
    """A processor without bfloat16 computes in float32 and says so; one with it says bfloat16."""
    asked = Features(engine=engine, precision="bfloat16")
    assert engines.choose(Features(engine=engine)).precision == "float32"
    for there, precision in [(False, "float32"), (True, "bfloat16")]:
        monkeypatch.setattr(engines, "_openvino_capabilities", lambda there=there: ["FP32"] + ["BF16"] * there)
        monkeypatch.setattr(engines, "_cpu_has_bfloat16", lambda there=there: there)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        chosen = engines.choose(asked)
        assert (chosen.device, chosen.precision) == ("cpu", precision)
        assert chosen.name.startswith(f"{engine} ")
        assert str(chosen).endswith(f", cpu, {precision}")


def test_without_openvino_torch_computes(monkeypatch):
    """Where OpenVINO is not installed torch takes its place, unless OpenVINO was asked for by name."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert engines.choose(Features()).name.startswith("openvino ")
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert engines.choose(Features()).name.startswith("torch ")
    with pytest.raises(MimiiError, match=r"features\.engine: openvino is not installed.*torch"):
        engines.choose(Features(engine="openvino"))


def test_nothing_is_reported_to_anyone():
    """OpenVINO is imported without the package that reports its use."""
    code = "import sys, mimii_lib.run.engines, openvino; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None"]


# What the paper leaves open


@pytest.mark.parametrize("untrained", ["alexnet"], indirect=True)
def test_alexnet_before_its_relu(untrained, patches):
    """Read before the ReLU, AlexNet's features have negative numbers, and their ReLU is the default's features."""
    some = patches[:2]
    before = engines.extract(some, untrained, PAPER, Features(alexnet_relu=False))
    assert (before < 0).any()
    after = engines.extract(some, untrained, PAPER)
    np.testing.assert_allclose(np.maximum(before, 0), after, rtol=1e-4, atol=1e-6 * after.max())


def test_alexnets_relu_is_no_other_networks(patches, squeezenet):
    """Where AlexNet is read changes no other network's features."""
    some = [engines.extract(patches[:2], squeezenet, PAPER, Features(alexnet_relu=relu)) for relu in (True, False)]
    np.testing.assert_array_equal(*some)


def test_other_colours_are_other_features(patches, squeezenet):
    """The colour map goes into what the network sees."""
    viridis, gray = (engines.extract(patches[:2], squeezenet, Imaging(colormap=name)) for name in ("viridis", "gray"))
    assert (distance(gray, viridis) > 0.1).all()


# Others than the paper's


@pytest.fixture
def registry():
    """Return the registry of extractors, and leave it as it was."""
    before = dict(EXTRACTORS)
    yield EXTRACTORS
    EXTRACTORS.clear()
    EXTRACTORS.update(before)


class Small(nn.Module):
    """A network of one's own: four features, ten classes."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 7, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(4, 10)

    def forward(self, x):
        """Classify pictures."""
        return self.last(self.features(x))


def small(name="small"):
    return Extractor(name, "Small", 4, Small, extractors.without_layer("last"), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_extractor_of_ones_own(engine, registry, patches, tmp_path):
    """An extractor that was registered computes as the paper's do, from weights in a folder."""
    extractors.register(small())
    found = random_weights("small", tmp_path)
    expected = hooked(found, "last", patches, output=False)
    features = engines.extract(patches, found, PAPER, Features(engine=engine))
    assert features.shape == (9, 4)
    assert (distance(features, expected) < 1e-4).all()


def test_a_registered_extractor_is_known_everywhere(registry, tmp_path):
    """A new extractor can be named in settings and profiles, and as often registered as a page is run again."""
    with pytest.raises(MimiiError, match="small"):
        with_parameters(Profile(), extractors="small")
    extractors.register(small())
    extractors.register(registry["small"])
    assert extractors.get("small") is registry["small"]
    assert with_parameters(Profile(), extractors="small alexnet").extractors == ("small", "alexnet")
    (tmp_path / "own.yaml").write_text("extractors: [small]")
    assert with_parameters(load_profile(tmp_path / "own.yaml")).extractors == ("small",)


def test_a_taken_name_is_refused(registry):
    """Another extractor under a name that is taken is an error, and the first one stays."""
    before = extractors.get("alexnet")
    with pytest.raises(MimiiError, match="'alexnet' is taken"):
        extractors.register(dataclasses.replace(before, dimension=9))
    assert extractors.get("alexnet") is before


def test_an_extractor_that_is_not_known():
    """An extractor that is not there is an error that names those that are."""
    with pytest.raises(MimiiError, match="vgg.*alexnet, resnet18"):
        extractors.get("vgg")
