"""Acoustic anomaly detection for machine sounds by image transfer learning (Müller et al., 2021).

The modules of this folder are the paper's method, one for each stage: arrays and tables in, arrays and tables out.

======================  ==============================  ================================================
paper                   module                          input → output
======================  ==============================  ================================================
§4 Dataset              :mod:`mimii_lib.dataset`        wav files → clip table, splits, waveforms
§5 Imaging              :mod:`mimii_lib.imaging`        waveform → log-mel spectrogram → patches → images
§5.1 Extractors         :mod:`mimii_lib.extractors`     images → features
§5.2 Detectors          :mod:`mimii_lib.detectors`      features → normality
§5.2 Auto-encoders      :mod:`mimii_lib.autoencoders`   patches → normality
§3 Equation 1, §6 AUC   :mod:`mimii_lib.evaluation`     normality → anomaly scores → clip scores → AUC
beyond the paper        :mod:`mimii_lib.uncertainty`    clip scores → confidence intervals
======================  ==============================  ================================================

:mod:`mimii_lib.paper` holds what is published, :mod:`mimii_lib.settings` what a run uses. Around the method are

- :mod:`mimii_lib.data`: recordings and pretrained weights: download, checks, the miniature;
- :mod:`mimii_lib.run`: computes the stages for one machine type and keeps the results (:class:`mimii_lib.run.Run`);
- :mod:`mimii_lib.pages`: the tables, figures and texts of the book;
- :mod:`mimii_lib.monitor`: your own machine: fit on normal recordings, check, score, watch (``Monitor``).
"""

from typing import TYPE_CHECKING, Any

from mimii_lib.errors import MimiiError

if TYPE_CHECKING:
    from mimii_lib.monitor.model import Monitor

__all__ = ["MimiiError", "Monitor"]


def __getattr__(name: str) -> Any:
    """Import the monitor when it is asked for: nothing else here needs its libraries."""
    if name != "Monitor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mimii_lib.monitor.model import Monitor

    return Monitor
