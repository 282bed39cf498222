"""§5.1 Pretrained feature extractors: which there are, and where their features are taken.

An extractor is an ImageNet classifier without its last layer. To add one, :func:`register` it: a name, the
length of its features, how its network is made and where it is cut. Nothing else has to know of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mimii_lib.errors import MimiiError, unknown_value

if TYPE_CHECKING:
    import torch
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# The packages of the networks are imported when one is made: torchvision alone takes a second or two, and most
# pages only read features that were computed before.


@dataclass(frozen=True)
class Extractor:
    """A network and where its features are taken.

    Attributes
    ----------
    name
        As parameters, profiles and weight files (``<name>.pt``) call it.
    title
        As pages call it.
    dimension
        Length of a feature vector.
    network
        Makes the whole network, untrained.
    cut
        Cuts the network behind the features: input (n, 3, 224, 224), output (n, dimension).
    torchvision
        Name of the model whose weights torchvision's own download brings; None: it has none.
    mean, std
        Per colour, of the images that it was trained on, in [0, 1].
    variant
        Names the setting of :class:`mimii_lib.settings.Features` that says where the network is cut: `cut` then
        takes its value, too.
    seed
        Seed that the weights of an untrained variant are drawn from; None: the network is trained.
    """

    name: str
    title: str
    dimension: int
    network: "Callable[[], nn.Module]"
    cut: "Callable[..., nn.Module]"
    torchvision: str | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    variant: str | None = None
    seed: int | None = None


EXTRACTORS: dict[str, Extractor] = {}
"""The extractors by name: the paper's four networks, SqueezeNet in both versions, and what is beyond the paper."""

RANDOM, UNTRAINED = "_random", ", random"
"""End the name and the title of a network whose weights are random_state_dict instead of trained."""


def register(extractor: Extractor) -> None:
    """Add an extractor to those that can be named.

    Raises
    ------
    MimiiError
        If the name is taken by another one.
    """
    if EXTRACTORS.setdefault(extractor.name, extractor) != extractor:
        raise MimiiError(f"extractor: the name '{extractor.name}' is taken; choose another one")


def get(name: str) -> Extractor:
    """Return the extractor called `name`."""
    if name not in EXTRACTORS:
        raise unknown_value("extractors", name, EXTRACTORS)
    return EXTRACTORS[name]


def from_torchvision(model: str) -> "Callable[[], nn.Module]":
    """Return what makes torchvision's network `model`, untrained."""

    def untrained() -> "nn.Module":
        import torchvision

        return torchvision.models.get_model(model, weights=None)

    return untrained


def without_layer(layer: str) -> "Callable[[Any], nn.Module]":
    """Return what cuts a network by taking its last layer, called `layer`, out."""

    def cut(net: Any) -> "nn.Module":
        from torch import nn

        setattr(net, layer, nn.Identity())
        return net

    return cut


def _alexnet(net: Any, after_relu: bool) -> "nn.Module":
    from torch import nn

    return nn.Sequential(net.features, net.avgpool, nn.Flatten(), net.classifier[: 6 if after_relu else 5])


def _squeezenet(net: Any) -> "nn.Module":
    from torch import nn

    return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def _efficientnet_lite0() -> "nn.Module":
    from efficientnet_lite_pytorch import EfficientNet

    return EfficientNet.from_name("efficientnet-lite0")


def random_state_dict(extractor: Extractor) -> "dict[str, torch.Tensor]":
    """Return weights as the network's makers draw them before a training: the same for the same seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(extractor.seed or 0)
        return dict(extractor.network().state_dict())


def untrained_variant(name: str) -> Extractor:
    """Return the same network untrained: what it describes as well owes nothing to ImageNet."""
    trained = get(name)
    title = trained.title + UNTRAINED
    return replace(trained, name=name + RANDOM, title=title, torchvision=None, seed=0)


def _torchvision(name: str, title: str, dimension: int, cut: "Callable[..., nn.Module]", **more: Any) -> Extractor:
    return Extractor(name, title, dimension, from_torchvision(name), cut, torchvision=name, **more)


for _extractor in (
    _torchvision("alexnet", "AlexNet", 4096, _alexnet, variant="alexnet_relu"),
    _torchvision("resnet18", "ResNet18", 512, without_layer("fc")),
    _torchvision("resnet34", "ResNet34", 512, without_layer("fc")),
    _torchvision("squeezenet1_0", "SqueezeNet 1.0", 2048, _squeezenet),
    _torchvision("squeezenet1_1", "SqueezeNet 1.1", 2048, _squeezenet),
    Extractor(
        "efficientnet_lite0",
        "EfficientNet-Lite0",
        1280,
        _efficientnet_lite0,
        without_layer("_fc"),
        mean=(127 / 255,) * 3,
        std=(128 / 255,) * 3,
    ),
):
    register(_extractor)
for _name in ("resnet18", "squeezenet1_1"):
    register(untrained_variant(_name))
