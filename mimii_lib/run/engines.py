"""Run an extractor's network as fast as the machine can: patches → feature vectors.

Two engines compute the same function. ``openvino`` compiles the network for the processor and runs one patch per
core; ``torch`` runs small batches with the colours of a pixel side by side in memory. Both take the patches as
they are kept, a byte per pixel: colouring, up-scaling and standardisation are the first steps of the network.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
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
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import Extractor
from mimii_lib.imaging import extractor_input, standardised_colours, upscaling
from mimii_lib.settings import Features, Imaging

BATCH = {"openvino": 2, "torch": 8}
"""Patches that go through the network together: so few that their maps stay in memory that is already there.
With 64, torch spends half of its time on getting memory from the system."""

# OpenVINO reports its use to its maker where the package for that is installed. Nothing here calls out.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]


class PatchNetwork(nn.Module):
    """An extractor's network from patches on: (n, height, width) uint8 → (n, dimension) float32."""

    def __init__(self, network: nn.Module, extractor: Extractor, imaging: Imaging):
        super().__init__()
        self.network = network
        self.colours: torch.Tensor
        self.rows: torch.Tensor
        self.columns: torch.Tensor
        self.register_buffer("colours", standardised_colours(extractor.mean, extractor.std, imaging))
        self.register_buffer("rows", upscaling(imaging.n_mels, imaging))
        self.register_buffer("columns", upscaling(imaging.patch_frames, imaging))

    def forward(self, entries: torch.Tensor) -> torch.Tensor:
        """Describe patches, which are entries of the colour map."""
        return self.network(extractor_input(entries, self.colours, self.rows, self.columns))


def classifier(weights: Weights) -> nn.Module:
    """Return the whole network with its pretrained weights: an ImageNet classifier, for inspection."""
    net = extractors.get(weights.extractor).network()
    try:
        net.load_state_dict(weights.state())
    except (RuntimeError, TypeError, AttributeError) as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise MimiiError(
            f"weights of {weights.extractor} ({weights.source}) do not fit the network: {first[0].strip()[:160]}"
        ) from None
    return net.eval()


def network(weights: Weights, features: Features | None = None) -> nn.Module:
    """Return the network from standardised pictures to features: (n, 3, 224, 224) → (n, dimension)."""
    extractor = extractors.get(weights.extractor)
    variant = [] if extractor.variant is None else [getattr(features or Features(), extractor.variant)]
    return extractor.cut(classifier(weights), *variant).eval().requires_grad_(False)


@dataclass(frozen=True)
class Engine:
    """What computes the features, as it is recorded with every result.

    Attributes
    ----------
    name
        openvino or torch, with the version.
    device
        cpu or cuda.
    precision
        float32 or bfloat16.
    """

    name: str
    device: str
    precision: str

    def __str__(self) -> str:
        """Return all three, for a reader."""
        return f"{self.name}, {self.device}, {self.precision}"


def choose(settings: Features) -> Engine:
    """Return the engine that `settings` ask for: where they leave it open, the fastest that is here.

    A processor that cannot compute in bfloat16 computes in float32, which is exact, and says so.

    Raises
    ------
    MimiiError
        If OpenVINO is asked for and not installed.
    """
    gpu = torch.cuda.is_available()
    installed = find_spec("openvino") is not None
    if settings.engine == "openvino" and not installed:
        raise MimiiError("features.engine: openvino is not installed; install it or choose torch")
    reduced = settings.precision == "bfloat16"
    if settings.engine == "openvino" or (settings.engine == "auto" and installed and not gpu):
        precision = "bfloat16" if reduced and "BF16" in _openvino_capabilities() else "float32"
        return Engine(f"openvino {version('openvino')}", "cpu", precision)
    precision = "bfloat16" if reduced and (gpu or _cpu_has_bfloat16()) else "float32"
    return Engine(f"torch {version('torch')}", "cuda" if gpu else "cpu", precision)


def extract(
    entries: NDArray[np.uint8], weights: Weights, imaging: Imaging, features: Features | None = None
) -> NDArray[np.float32]:
    """Describe patches by an extractor's features.

    Parameters
    ----------
    entries : array of shape (n, height, width), uint8
        Patches, as :func:`mimii_lib.imaging.patches` cuts them.
    weights
        The extractor's weights.

    Returns
    -------
    array of shape (n, dimension), float32
    """
    extractor, engine = extractors.get(weights.extractor), choose(features or Features())
    # Settings that change the patches alone leave the network as it is, made ready before.
    seen = Imaging(
        n_mels=imaging.n_mels,
        patch_frames=imaging.patch_frames,
        colormap=imaging.colormap,
        image_size=imaging.image_size,
        interpolation=imaging.interpolation,
    )
    found = np.empty((len(entries), extractor.dimension), np.float32)
    with tqdm(total=len(entries), desc=extractor.title, unit="patch", disable=None) as progress:

        def keep(start: int, values: NDArray[np.float32]) -> None:
            end = min(start + len(values), len(found))
            found[start:end] = values[: end - start]
            progress.update(end - start)

        _compiled(engine, weights, seen, features or Features(), entries.shape[1:])(entries, keep)
    return found


Keep = Callable[[int, NDArray[np.float32]], None]
"""Takes the features of some patches and the number of the first of them."""


@lru_cache(maxsize=2)
def _compiled(
    engine: Engine, weights: Weights, imaging: Imaging, features: Features, shape: tuple[int, ...]
) -> Callable[[NDArray[np.uint8], Keep], None]:
    """Return a network made ready on an engine: half a second or more that several calls share."""
    net = PatchNetwork(network(weights, features), extractors.get(weights.extractor), imaging).eval()
    return _openvino(net, engine, shape) if engine.name.startswith("openvino") else _torch(net, engine)


def _torch(net: nn.Module, engine: Engine) -> Callable[[NDArray[np.uint8], Keep], None]:
    net = net.to(engine.device).to(memory_format=torch.channels_last)
    reduced, batch = engine.precision == "bfloat16", BATCH["torch"]

    def run(entries: NDArray[np.uint8], keep: Keep) -> None:
        with torch.inference_mode(), torch.autocast(engine.device, torch.bfloat16, enabled=reduced):
            for start in range(0, len(entries), batch):
                some = torch.from_numpy(np.array(entries[start : start + batch]))
                keep(start, net(some.to(engine.device)).float().cpu().numpy())

    return run


def _openvino(net: nn.Module, engine: Engine, shape: tuple[int, ...]) -> Callable[[NDArray[np.uint8], Keep], None]:
    import openvino

    threads, batch = torch.get_num_threads(), BATCH["openvino"]  # what OMP_NUM_THREADS allows, or every core
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if engine.precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # pinned, two processes would share one core
    }
    example = torch.zeros((batch, *shape), dtype=torch.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces another way of tracing, which OpenVINO does not take yet
        model = openvino.convert_model(net, example_input=example, input=[example.shape])
    compiled = openvino.Core().compile_model(model, "CPU", options)

    def run(entries: NDArray[np.uint8], keep: Keep) -> None:
        queue = openvino.AsyncInferQueue(compiled, threads + 1)  # one waits, so that no core does
        queue.set_callback(lambda request, start: keep(start, request.get_output_tensor().data))
        for start in range(0, len(entries), batch):
            some = entries[start : start + batch]
            queue.start_async([np.pad(some, ((0, batch - len(some)), (0, 0), (0, 0)))], start)
        queue.wait_all()

    return run


@cache
def _openvino_capabilities() -> list[str]:
    import openvino

    return list(openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _cpu_has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
