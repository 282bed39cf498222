"""Run an extractor's network: patches, or windows of sound, → features.

Two engines compute the same function: ``openvino`` compiles the network for the processor and runs patches in parallel,
one per core; ``torch`` runs small batches with the channels last, on a CPU one per core. Both take the patches as uint8
colour-map indices; colouring, up-scaling and standardisation are the first layers of the network.
"""

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from mimii_lib import extractors
from mimii_lib.data.weights import Weights
from mimii_lib.errors import MimiiError, NotRun
from mimii_lib.extractors import Extractor
from mimii_lib.imaging import extractor_input, standardised_colours, upscaling
from mimii_lib.run.openvino_engine import Runner, Store, rows_of, runner
from mimii_lib.settings import Features, Imaging

BATCH = {"openvino": 2, "torch": 8}
"""Patches per batch: so few that allocated memory is reused. With 64, torch spends half of its time on allocation."""

ENLARGED = 8
"""How many times a whole clip's picture may be enlarged: its width grows as its height does."""

Shape = tuple[int, ...]  # height and width of a picture


@dataclass(frozen=True)
class Picture:
    """A picture as a network takes it: its shape as indices into the colour map, and the size it is up-scaled to.

    Windows of sound, which audio networks take as they are, have no size and no colour map.
    """

    shape: Shape
    size: Shape | None
    colormap: str


@dataclass(frozen=True)
class MapLayers:
    """Layers of a network whose maps are taken of whole clips, up-scaled to a height in pixels."""

    layers: tuple[str, ...]
    height: int

    def picture(self, shape: Shape, imaging: Imaging) -> Picture:
        """Return the picture of a clip, (n_mels, frames), whose width grows in proportion to its height.

        Raises :class:`NotRun` where the picture would be enlarged so far that a network takes minutes for one.
        """
        if self.height > ENLARGED * shape[0]:
            least = -(-self.height // ENLARGED)
            raise NotRun(f"imaging.n_mels is {shape[0]}, and a picture of {self.height} rows needs at least {least}")
        return Picture(shape, (self.height, round(shape[1] * self.height / shape[0])), imaging.colormap)

    def shapes(self, extractor: str) -> tuple[tuple[int, int], ...]:
        """Return the rows and channels of each layer's map; raise MimiiError if the network has no such layer."""
        try:
            return _map_shapes(extractor, self)
        except AttributeError as error:
            raise MimiiError(f"systems.layers: {error}; name layers of {extractor}") from None

    def columns(self, extractor: str) -> int:
        """Return the columns of all layers together."""
        return sum(rows * channels for rows, channels in self.shapes(extractor))


@lru_cache
def _map_shapes(extractor: str, maps: MapLayers) -> tuple[tuple[int, int], ...]:
    return extractors.map_shapes(extractors.get(extractor), maps.layers, maps.height)


class PictureNetwork(nn.Module):
    """An extractor's network from pictures on: (n, height, width) uint8 → (n, columns) float32."""

    def __init__(self, network: nn.Module, extractor: Extractor, picture: Picture):
        super().__init__()
        assert picture.size is not None
        self.network = network
        colours = standardised_colours(extractor.mean, extractor.std, Imaging(colormap=picture.colormap))  # type: ignore
        self.register_buffer("colours", colours)
        self.register_buffer("rows", upscaling(picture.shape[0], picture.size[0]))
        self.register_buffer("columns", upscaling(picture.shape[1], picture.size[1]))

    def forward(self, colormap_indices: torch.Tensor) -> torch.Tensor:
        """Return the features of patches."""
        return self.network(extractor_input(colormap_indices, *self.buffers(recurse=False)))


def classifier(weights: Weights) -> nn.Module:
    """Return the whole network with its pretrained weights: an ImageNet classifier."""
    net = extractors.get(weights.extractor).network()
    source, state = f"{weights.extractor} ({weights.source})", weights.state()
    try:
        net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        lines = str(error).splitlines() or [""]
        raise MimiiError(f"weights of {source} do not fit the network: {lines[:2][-1].strip()[:160]}") from None
    if any(tensor.is_floating_point() > state[name].is_floating_point() for name, tensor in net.state_dict().items()):
        raise MimiiError(f"weights of {source} are no floating-point numbers; replace the file")
    if not all(tensor.isfinite().all() for tensor in net.state_dict().values()):  # an engine's ReLU may hide NaN as 0
        raise MimiiError(f"weights of {source} hold numbers that are not finite; replace the file")
    return net.eval()


def network(weights: Weights, features: Features | None = None) -> nn.Module:
    """Return the network from standardised images to features: (n, 3, 224, 224) → (n, dimension)."""
    extractor = extractors.get(weights.extractor)
    variant = [getattr(features or Features(), extractor.variant)] if extractor.variant else []
    return extractor.cut(classifier(weights), *variant).eval().requires_grad_(False)


@dataclass(frozen=True)
class Engine:
    """The software and hardware that compute, recorded with every result."""

    name: str  # openvino or torch, with the version
    device: str  # cpu or cuda
    precision: str  # float32 or bfloat16

    def __str__(self) -> str:
        """Return name, device and precision, separated by commas."""
        return f"{self.name}, {self.device}, {self.precision}"


def choose(settings: Features) -> Engine:
    """Return the engine that `settings` name; auto is the fastest that is available.

    A processor without bfloat16 computes in float32, and the engine says float32.
    Raises :class:`MimiiError` if OpenVINO is named and not installed.
    """
    gpu, installed = torch.cuda.is_available(), find_spec("openvino") is not None
    if settings.engine == "openvino" and not installed:
        raise MimiiError("features.engine: openvino is not installed; install it or choose torch")
    name = settings.engine if settings.engine != "auto" else "openvino" if installed and not gpu else "torch"
    device = "cuda" if gpu and name == "torch" else "cpu"
    reduced = settings.precision == "bfloat16" and (device == "cuda" or _cpu_has_bfloat16(name))
    return Engine(f"{name} {version(name)}", device, "bfloat16" if reduced else "float32")


def _cpu_has_bfloat16(engine: str) -> bool:
    if engine == "torch":
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def patch_picture(extractor: Extractor, shape: Shape, imaging: Imaging) -> Picture:
    """Return how an extractor takes patches or, if it has a front end of its own, windows of this shape."""
    if not extractor.takes_pictures:
        return Picture(shape, None, "")
    return Picture(shape, (imaging.image_size, imaging.image_size), imaging.colormap)


def extract(
    patches: NDArray[np.uint8], weights: Weights, imaging: Imaging, features: Features | None = None
) -> NDArray[np.float32]:
    """Return the features of patches (§5.1): (n, height, width) uint8, colour-map indices → (n, dimension) float32.

    An extractor with a front end of its own takes that one's windows instead, float32.
    """
    picture = patch_picture(extractors.get(weights.extractor), patches.shape[1:], imaging)
    return run(patches, weights, picture, features or Features())


def run(
    pictures: NDArray[np.uint8], weights: Weights, picture: Picture, features: Features, maps: MapLayers | None = None
) -> NDArray[np.float32]:
    """Return features of pictures or, with `maps`, several layers' maps averaged over time in one pass.

    Parameters
    ----------
    pictures : array of shape (n, height, width), uint8
        Colour-map indices.

    Returns
    -------
    array of shape (n, dimension) or, of maps (see :func:`mimii_lib.extractors.averaged_maps`), (n, columns)

    Raises
    ------
    MimiiError
        If the weights describe a picture by what is no number, or different pictures by the same numbers.
    """
    extractor = extractors.get(weights.extractor)
    columns, title = (
        (maps.columns(extractor.name), f"{extractor.title} maps") if maps else (extractor.dimension, extractor.title)
    )
    compiled = _compiled(choose(features), extractor, weights, picture, features, maps)
    with tqdm(total=len(pictures), desc=title, unit="picture", disable=None) as progress:
        rows = rows_of(compiled, pictures, columns, progress.update)
    fault = "" if np.isfinite(rows).all() else "features that are not finite numbers"
    if (rows == rows[:1]).all() and (pictures != pictures[:1]).any():
        fault = "the same features for every picture"
    if fault:
        raise MimiiError(f"weights of {weights} give {fault}; replace the file, or leave the network out")
    return rows


@lru_cache(maxsize=2)
def _compiled(
    engine: Engine,
    extractor: Extractor,
    weights: Weights,
    picture: Picture,
    features: Features,
    maps: MapLayers | None = None,
) -> Runner:
    """Return the network, loaded and compiled for an engine; cached, because compilation takes seconds."""
    net = picture_network(weights, picture, features, maps)
    name = "openvino" if engine.name.startswith("openvino") else "torch"
    size = 1 if maps else BATCH[name]  # a whole clip is as large as several patches
    if name == "torch":
        return _torch(net, engine, size)
    return runner(to_openvino(net, picture.shape, size), torch.get_num_threads(), engine.precision)


def picture_network(
    weights: Weights, picture: Picture, features: Features | None = None, maps: MapLayers | None = None
) -> nn.Module:
    """Return a network from pictures to features or, with `maps`, to averaged maps."""
    cut = extractors.averaged_maps(classifier(weights), maps.layers) if maps else network(weights, features)
    if picture.size is not None:
        cut = PictureNetwork(cut, extractors.get(weights.extractor), picture)
    return cut.eval().requires_grad_(False)


def _torch(net: nn.Module, engine: Engine, size: int) -> Runner:
    net = net.to(engine.device).to(memory_format=torch.channels_last)

    def run(pictures: NDArray[np.uint8], store: Store) -> None:
        def run_batch(start: int) -> None:
            batch = torch.from_numpy(np.array(pictures[start : start + size]))
            with torch.inference_mode(), torch.autocast(engine.device, torch.bfloat16, engine.precision == "bfloat16"):
                store(start, net(batch.to(engine.device)).float().cpu().numpy())

        starts, threads = range(0, len(pictures), size), torch.get_num_threads()
        if engine.device == "cuda":
            for start in starts:
                run_batch(start)
            return
        # A sum must not depend on how many threads add it up: as many batches at once, each on one thread.
        try:
            with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as workers:
                for _ in workers.map(run_batch, starts):
                    pass
        finally:
            torch.set_num_threads(threads)

    return run


def to_openvino(net: nn.Module, shape: Shape, size: int) -> Any:
    """Return a network of pictures as an ``openvino.Model`` of a fixed batch: (size, height, width) uint8."""
    import openvino

    example = torch.zeros((size, *shape), dtype=torch.uint8 if isinstance(net, PictureNetwork) else torch.float32)
    with warnings.catch_warnings(action="ignore"):  # torch deprecates its tracing, which OpenVINO still needs
        # The conversion would trace it three times, to compare: most of its time.
        traced = torch.jit.trace(net, example, check_trace=False)
        return openvino.convert_model(traced, example_input=example, input=[example.shape])
