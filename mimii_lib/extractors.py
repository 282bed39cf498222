"""§5.1 Feature extractors: the pretrained networks, and the layer at which each is cut.

Conventions
-----------
An extractor is an ImageNet classifier without its last layer: images (n, 3, 224, 224) → features (n, dimension),
float32. One with a front end of its own takes windows of sound instead: (n, height, width) → (n, dimension). To add
one, :func:`register` an :class:`Extractor`; no other module names the image networks.
``mimii_lib.data.weights`` finds the weights, ``mimii_lib.run.engines`` runs the networks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import local
from typing import TYPE_CHECKING, Any

from mimii_lib.errors import MimiiError, unknown_value

if TYPE_CHECKING:  # torchvision takes seconds to import, and most pages only read stored features
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Extractor:
    """A network and the layer at which its features are taken.

    Attributes
    ----------
    name
        Name in parameters, profiles and weight files (``<name>.pt``).
    title
        Name on the pages.
    dimension
        Length of a feature vector.
    network
        Returns the whole network, untrained.
    cut
        Cuts the network: images (n, 3, 224, 224) → features (n, dimension).
    torchvision
        torchvision's name of the model whose weights it can download; None: none.
    mean, std
        Mean and standard deviation of R, G and B in [0, 1] that the network expects its images standardised by.
    variant
        Field of :class:`mimii_lib.settings.Features` that `cut` takes as its second argument; None: it takes none.
    seed
        Seed of the weights of an untrained network; None: the network is pretrained.
    layers
        Names of layers whose maps show the frequency axis at three resolutions, from early to late: the last ones at
        the strides 8, 16 and 32, or the nearest that there are.
    front_end
        Turns a waveform, (samples,), into what an audio network takes: windows (n, height, width), float32; None: the
        network takes the paper's pictures (§5).
    sample_rate
        Of the waveform that `front_end` takes, in Hz.
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
    layers: tuple[str, ...] = ()
    front_end: "Callable[[NDArray[np.float32]], NDArray[np.float32]] | None" = None
    sample_rate: int = 16_000

    @property
    def takes_pictures(self) -> bool:
        """Whether the network takes the paper's pictures (§5), not windows of sound."""
        return self.front_end is None


EXTRACTORS: dict[str, Extractor] = {}
"""The extractors by name: the paper's four networks (SqueezeNet in both versions), and those beyond the paper."""

OURS: list[str] = []
"""Names of the extractors that come with the library."""

UNTRAINED = ", random"  # end of the title of an untrained network


def register(extractor: Extractor) -> None:
    """Add an extractor, so that parameters and profiles can name it, or replace an earlier one of one's own.

    The name of one that comes with the library raises MimiiError.
    """
    if EXTRACTORS.get(extractor.name, extractor) != extractor and extractor.name in OURS:
        raise MimiiError(f"extractor: the name '{extractor.name}' is taken; choose another one")
    EXTRACTORS[extractor.name] = extractor


def get(name: str) -> Extractor:
    """Return the extractor called `name`."""
    if name not in EXTRACTORS:
        raise unknown_value("extractors", name, EXTRACTORS)
    return EXTRACTORS[name]


def from_torchvision(model: str) -> "Callable[[], nn.Module]":
    """Return a function that builds torchvision's network `model`, untrained."""

    def build() -> "nn.Module":
        import torchvision

        return torchvision.models.get_model(model, weights=None)

    return build


def without_layer(layer: str) -> "Callable[[Any], nn.Module]":
    """Return a function that removes the last layer, called `layer`: ResNets up to the average pooling (§5.1)."""

    def cut(net: Any) -> "nn.Module":
        from torch import nn

        setattr(net, layer, nn.Identity())
        return net

    return cut


def cut_alexnet(net: Any, after_relu: bool) -> "nn.Module":
    """Cut AlexNet behind its penultimate layer: 4096 features, after or before its ReLU (§5.1)."""
    from torch import nn

    return nn.Sequential(net.features, net.avgpool, nn.Flatten(), net.classifier[: 6 if after_relu else 5])


def cut_squeezenet(net: Any) -> "nn.Module":
    """Cut SqueezeNet behind its last feature map, averaged to 2 x 2: 512 x 4 = 2048 features (§5.1)."""
    from torch import nn

    return nn.Sequential(net.features, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def averaged_maps(net: Any, layers: Sequence[str]) -> "nn.Module":
    """Return the maps of several layers in one pass: images (n, 3, height, width) → (n, columns).

    Each map is averaged over time, which is its width. Its columns are the channels of its first row, of its second,
    and so on.
    """
    from torch import cat, nn

    class AveragedMaps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = net
            self.passed = local()  # several threads may be in the network at a time
            for name in layers:
                net.get_submodule(name).register_forward_hook(
                    lambda module, inputs, output: self.passed.maps.append(output)
                )

        def forward(self, images: "torch.Tensor") -> "torch.Tensor":
            self.passed.maps = []
            self.network(images)
            return cat([values.mean(3).transpose(1, 2).flatten(1) for values in self.passed.maps], 1)

    return AveragedMaps()


def map_shapes(extractor: Extractor, layers: Sequence[str], height: int) -> tuple[tuple[int, int], ...]:
    """Return the rows and channels of the maps of layers, for images of a height in pixels."""
    import torch

    shapes: list[tuple[int, int]] = []
    net = extractor.network().eval()
    for name in layers:
        net.get_submodule(name).register_forward_hook(
            lambda module, inputs, output: shapes.append((output.shape[2], output.shape[1]))
        )
    with torch.inference_mode():
        net(torch.zeros(1, 3, height, 2 * height))
    return tuple(shapes)


def random_state_dict(extractor: Extractor) -> "dict[str, torch.Tensor]":
    """Return the initial weights of an untrained network, determined by its seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(extractor.seed or 0)
        return dict(extractor.network().state_dict())


def untrained_variant(name: str) -> Extractor:
    """Return the same network with random weights: what it describes as well does not need the pretraining."""
    trained = get(name)
    return replace(trained, name=f"{name}_random", title=trained.title + UNTRAINED, torchvision=None, seed=0)


def _efficientnet_lite(version: int) -> Extractor:
    def build() -> "nn.Module":
        from efficientnet_lite_pytorch import EfficientNet

        # Lite1 and Lite2 were trained on 240 and 260 pixels; the paper's 224 stay, and the edges are padded for them.
        return EfficientNet.from_name(f"efficientnet-lite{version}", image_size=224)

    name, title = f"efficientnet_lite{version}", f"EfficientNet-Lite{version}"
    half = (127 / 255,) * 3, (128 / 255,) * 3
    layers = tuple(f"_blocks.{number}" for number in ((4, 10, 15), (6, 14, 20), (6, 14, 20))[version])
    return Extractor(name, title, 1280, build, without_layer("_fc"), None, *half, layers=layers)


def _torchvision(name: str, title: str, dimension: int, cut: Any, layers: str, variant: str | None = None) -> Extractor:
    network = from_torchvision(name)
    return Extractor(name, title, dimension, network, cut, name, variant=variant, layers=tuple(layers.split()))


for _extractor in (
    _torchvision("alexnet", "AlexNet", 4096, cut_alexnet, "features.5 features.12", "alexnet_relu"),
    _torchvision("resnet18", "ResNet18", 512, without_layer("fc"), "layer2 layer3 layer4"),
    _torchvision("resnet34", "ResNet34", 512, without_layer("fc"), "layer2 layer3 layer4"),
    _torchvision("squeezenet1_0", "SqueezeNet 1.0", 2048, cut_squeezenet, "features.4 features.7 features.12"),
    _torchvision("squeezenet1_1", "SqueezeNet 1.1", 2048, cut_squeezenet, "features.4 features.7 features.12"),
    *map(_efficientnet_lite, range(3)),
):
    register(_extractor)
for _name in ("resnet18", "squeezenet1_1"):
    register(untrained_variant(_name))
OURS += EXTRACTORS
