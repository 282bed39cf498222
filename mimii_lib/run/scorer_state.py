"""A fitted scorer as plain values, arrays and a converted network, and back: what a model file holds."""

import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mimii_lib.errors import MimiiError
from mimii_lib.run import fitted_state
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import Settings

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO would report its use


class ConvertedNetwork:
    """A scorer's network in OpenVINO's own format, which needs no torch; it is converted when it first runs.

    Where OpenVINO is not installed, torch runs the weights that this computer has, if they are the same ones.
    """

    def __init__(self, scorer: Scorer, kept: dict[str, Any] | None = None):
        self.scorer, self.kept, self.unconverted = scorer, kept or {}, scorer.network
        self._request: Any = None

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a row for each picture: (n, height, width) → (n, columns)."""
        if find_spec("openvino") is None:
            if (expected := self.kept.get("sha256")) and self.scorer.weights.sha256 != expected:
                raise MimiiError(f"weights of {self.scorer.extractor}: not those of the model; install openvino")
            return self.unconverted(pictures)
        if self._request is None:
            self.kept = self.kept or _converted(self.scorer, pictures)
            self._request = _compiled(self.kept)
        return np.concatenate([self._request.infer([picture[None]])[0] for picture in pictures])


def _converted(scorer: Scorer, pictures: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a scorer's network, for pictures of this shape, as files of OpenVINO, with its licence and its source."""
    import openvino

    from mimii_lib.run import engines

    model = engines.to_openvino(scorer.picture_network(pictures), pictures.shape[1:], 1)
    with TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder, "network.xml"), compress_to_fp16=False)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    weights = scorer.weights
    return files | {"source": str(weights), "sha256": weights.sha256, "licence.txt": _licence(weights.source)}


def _licence(source: str) -> bytes:
    """Return the licence of the package that weights come from."""
    kind, _, package = source.partition(": ")
    try:
        texts = [path.read_binary() for path in distribution(package.split()[0]).files or () if path.stem == "LICENSE"]
    except (PackageNotFoundError, IndexError, OSError):
        texts = []
    return b"\n".join(texts) or f"Weights from a {kind}, under the licence of their source ({source}).\n".encode()


def _compiled(kept: dict[str, Any]) -> Any:
    """Return what infers a row from one picture; all threads share the work on it, and its numbers are the same."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
    weights = openvino.Tensor(np.frombuffer(kept["network.bin"], np.uint8))
    try:
        model = openvino.Core().read_model(kept["network.xml"], weights)
        return openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    except RuntimeError as error:
        raise MimiiError(f"OpenVINO cannot read the network ({str(error).strip().splitlines()[-1]})") from None


def scorer_state(scorer: Scorer) -> dict[str, Any]:
    """Return a fitted scorer as values, arrays and bytes."""
    network = scorer.network.kept if isinstance(scorer.network, ConvertedNetwork) else {}
    return {
        "system": scorer.system,
        "settings": scorer.settings.model_dump(mode="json"),
        "limits": scorer.limits,
        "map_shapes": scorer.map_shapes,
        "estimator": fitted_state.state(scorer.estimator),
        "network": network,
    }


def restored_scorer(kept: dict[str, Any]) -> Scorer:
    """Return the scorer of a state."""
    scorer = Scorer(kept["system"], Settings(**kept["settings"]))
    scorer.limits = kept["limits"] and tuple(kept["limits"])
    scorer.map_shapes = tuple((rows, channels) for rows, channels in kept["map_shapes"])
    scorer.estimator = fitted_state.restored(kept["estimator"])
    scorer.network = ConvertedNetwork(scorer, kept["network"])
    return scorer
