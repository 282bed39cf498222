"""Rows of clips in the arrays of a machine ID."""

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.intp]
"""Numbers of clips in the clip table of a machine ID."""


def patch_rows(inputs: NDArray[Any], clips: Rows) -> NDArray[Any]:
    """Return the inputs of some clips, (clips, patches, …), patch by patch: (clips x patches, …) in a row each."""
    rows = inputs[clips]
    return rows.reshape(len(rows) * rows.shape[1], prod(rows.shape[2:]))
