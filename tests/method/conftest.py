"""A GPU for machines that have none."""

import pytest
import torch
from torch.overrides import TorchFunctionMode


class FakeCuda(TorchFunctionMode):
    """Keeps tensors that are sent to a GPU on the CPU, and counts them."""

    received = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Call torch's function with the CPU in the place of every CUDA device."""
        if func is torch.Tensor.to and any(str(arg) == "cuda" for arg in args):
            self.received += 1
            args = tuple(torch.device("cpu") if str(arg) == "cuda" else arg for arg in args)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def fake_cuda():
    """Return a context in which tensors that are sent to a GPU stay on the CPU and are counted in `received`."""
    return FakeCuda()
