"""Run an extractor's network: patches → features.

Two engines compute the same function: ``openvino`` compiles the network for the processor and runs patches in parallel,
one per core; ``torch`` runs small batches with the channels last, on a CPU one per core. Both take the patches as uint8
colour-map indices; colouring, up-scaling and standardisation are the first layers of the network.
"""

import sys
import warnings
from collections.abc import Callable
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
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import Extractor
from mimii_lib.imaging import extractor_input, standardised_colours, upscaling
from mimii_lib.settings import Features, Imaging

BATCH = {"openvino": 2, "torch": 8}
"""Patches per batch: so few that allocated memory is reused. With 64, torch spends half of its time on allocation."""

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO would report its use

Store = Callable[[int, NDArray[np.float32]], None]  # takes the number of a batch's first patch, and its features
Runner = Callable[[NDArray[np.uint8], Store], None]


class PatchNetwork(nn.Module):
    """An extractor's network from patches on: (n, height, width) uint8 → (n, dimension) float32."""

    def __init__(self, network: nn.Module, extractor: Extractor, imaging: Imaging, shape: tuple[int, ...]):
        super().__init__()
        self.network = network
        self.register_buffer("colours", standardised_colours(extractor.mean, extractor.std, imaging))
        self.register_buffer("rows", upscaling(shape[0], imaging))
        self.register_buffer("columns", upscaling(shape[1], imaging))

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


def extract(
    patches: NDArray[np.uint8], weights: Weights, imaging: Imaging, features: Features | None = None
) -> NDArray[np.float32]:
    """Return the features of patches (§5.1): (n, height, width) uint8, colour-map indices → (n, dimension) float32."""
    settings, extractor = features or Features(), extractors.get(weights.extractor)
    # Only these settings and the shape of a patch change the network: the others share the compiled one.
    image = Imaging(colormap=imaging.colormap, image_size=imaging.image_size)
    run = _compiled(choose(settings), extractor, weights, image, settings, patches.shape[1:])
    rows = np.empty((len(patches), extractor.dimension), np.float32)
    with tqdm(total=len(patches), desc=extractor.title, unit="patch", disable=None) as progress:

        def store(start: int, values: NDArray[np.float32]) -> None:
            batch = rows[start : start + len(values)]  # shorter than `values` where the last batch was padded
            batch[:] = values[: len(batch)]
            progress.update(len(batch))

        run(patches, store)
    return rows


@lru_cache(maxsize=2)
def _compiled(
    engine: Engine, extractor: Extractor, weights: Weights, imaging: Imaging, features: Features, shape: tuple[int, ...]
) -> Runner:
    """Return the network, loaded and compiled for an engine; cached, because compilation takes seconds."""
    net = PatchNetwork(network(weights, features), extractor, imaging, shape).eval()
    return _openvino(net, engine, shape) if engine.name.startswith("openvino") else _torch(net, engine)


def _torch(net: nn.Module, engine: Engine) -> Runner:
    net = net.to(engine.device).to(memory_format=torch.channels_last)

    def run(patches: NDArray[np.uint8], store: Store) -> None:
        def run_batch(start: int) -> None:
            batch = torch.from_numpy(np.array(patches[start : start + BATCH["torch"]]))
            with torch.inference_mode(), torch.autocast(engine.device, torch.bfloat16, engine.precision == "bfloat16"):
                store(start, net(batch.to(engine.device)).float().cpu().numpy())

        starts, threads = range(0, len(patches), BATCH["torch"]), torch.get_num_threads()
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


def _openvino(net: nn.Module, engine: Engine, shape: tuple[int, ...]) -> Runner:
    import openvino

    threads, size = torch.get_num_threads(), BATCH["openvino"]  # OMP_NUM_THREADS, or the number of cores
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if engine.precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # pinned threads of two processes would share one core
    }
    example = torch.zeros((size, *shape), dtype=torch.uint8)
    with warnings.catch_warnings(action="ignore"):  # torch deprecates its tracing, which OpenVINO still needs
        model = openvino.convert_model(net, example_input=example, input=[example.shape])
    compiled = openvino.Core().compile_model(model, "CPU", options)

    def run(patches: NDArray[np.uint8], store: Store) -> None:
        queue = openvino.AsyncInferQueue(compiled, threads + 1)  # one more than threads, so that no core waits
        queue.set_callback(lambda request, start: store(start, request.get_output_tensor().data))
        for start in range(0, len(patches), size):
            batch = patches[start : start + size]
            queue.start_async([np.pad(batch, ((0, size - len(batch)), (0, 0), (0, 0)))], start)
        queue.wait_all()

    return run
