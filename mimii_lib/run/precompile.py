"""Compile what librosa compiles at its first use (seconds, once per environment), before jobs run in parallel."""

import numpy as np

from mimii_lib.imaging import log_mel
from mimii_lib.settings import Imaging

if __name__ == "__main__":
    log_mel(np.zeros(Imaging().samples, np.float32), Imaging())
