"""The engine OpenVINO: run a converted network on pictures. It needs no torch, whose import takes seconds."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

Store = Callable[[int, NDArray[np.float32]], None]  # takes the number of a batch's first picture, and its rows
Runner = Callable[[NDArray[np.uint8], Store], None]


def runner(model: Any, threads: int, precision: str = "float32") -> Runner:
    """Return a function that runs a network on pictures, one inference on each thread at a time.

    Parameters
    ----------
    model : openvino.Model
        (batch, height, width) uint8 → (batch, columns) float32, of a fixed batch.
    precision
        float32 or bfloat16.
    """
    import openvino

    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
        "ENABLE_CPU_PINNING": False,  # pinned threads of two processes would share one core
    }
    size = model.input().shape[0]
    compiled = openvino.Core().compile_model(model, "CPU", options)

    def run(pictures: NDArray[np.uint8], store: Store) -> None:
        own = local()  # to each thread

        def infer(start: int) -> None:
            if not hasattr(own, "request"):
                own.request = compiled.create_infer_request()
            batch = pictures[start : start + size]
            own.request.infer([np.pad(batch, ((0, size - len(batch)), (0, 0), (0, 0)))])
            store(start, own.request.get_output_tensor().data)

        # Threads of ours, one more than cores, so that none waits: OpenVINO's own queue calls Python from its threads,
        # and one that still does so when the process ends aborts it.
        with ThreadPoolExecutor(threads + 1) as workers:
            for _ in workers.map(infer, range(0, len(pictures), size)):
                pass

    return run


def rows_of(run: Runner, pictures: NDArray[np.uint8], columns: int, done: Callable[[int], Any]) -> NDArray[np.float32]:
    """Return the rows of all pictures, (n, columns); `done` is told how many pictures each batch has finished."""
    rows = np.empty((len(pictures), columns), np.float32)

    def store(start: int, values: NDArray[np.float32]) -> None:
        batch = rows[start : start + len(values)]  # shorter than `values` where the last batch was padded
        batch[:] = values[: len(batch)]
        done(len(batch))

    run(pictures, store)
    return rows
