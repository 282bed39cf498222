"""Acoustic anomaly detection for machine sounds by image transfer learning, one room per stage of the paper.

======================  =======================  ==========================================================
paper                   room                     what it does
======================  =======================  ==========================================================
§4 Dataset              :mod:`~.dataset`         find, check, read and split the clips (:mod:`~.data.miniature`
                                                 makes a stand-in for MIMII)
§5 imaging              :mod:`~.imaging`         wav → log-mel spectrogram → patches → pictures
§5.1 extractors         :mod:`~.extractors`      pictures → feature vectors (:mod:`~.data.weights` finds weights,
                                                 :mod:`~.run.engines` computes)
§5.2 detectors          :mod:`~.detectors`       feature vectors → normality scores
§5.2 DCAE               :mod:`~.autoencoders`    pictures → reconstruction errors
§3 Eq. 1, §6 results    :mod:`~.evaluation`      patch scores → clip scores → AUC
======================  =======================  ==========================================================

:class:`~.run.Run` ties the rooms together for one machine type; :mod:`~.paper` holds what is published and
:mod:`~.settings` what a run uses, :mod:`~.pages.open_points` what the paper leaves open and
:mod:`~.pages.conformance` what it states.
"""

from typing import TYPE_CHECKING, Any

from mimii_lib.errors import MimiiError

if TYPE_CHECKING:
    from mimii_lib.run import Run

__all__ = ["MimiiError", "Run"]


def __getattr__(name: str) -> Any:
    """Import :class:`Run` when it is first used: it brings torch, which the workflow's own steps do without."""
    if name == "Run":
        from mimii_lib.run import Run

        return Run
    raise AttributeError(name)
