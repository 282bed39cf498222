"""The engine OpenVINO: run a converted network on pictures. It needs no torch, whose import takes seconds."""

from collections.abc import Callable
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
        queue = openvino.AsyncInferQueue(compiled, threads + 1)  # one more than threads, so that no core waits
        queue.set_callback(lambda request, start: store(start, request.get_output_tensor().data))
        for start in range(0, len(pictures), size):
            batch = pictures[start : start + size]
            queue.start_async([np.pad(batch, ((0, size - len(batch)), (0, 0), (0, 0)))], start)
        queue.wait_all()

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
