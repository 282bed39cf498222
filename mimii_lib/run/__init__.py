"""Computing and keeping results: :class:`Run` is one machine type, one profile, one folder of recordings.

A clip passes, from its sound to its part in an AUC, through :func:`mimii_lib.dataset.read`,
:func:`mimii_lib.imaging.log_mel` and :func:`~mimii_lib.imaging.patches`, :func:`mimii_lib.run.engines.extract`,
:func:`mimii_lib.run.stages.detection.detector_scores`, :func:`mimii_lib.evaluation.pool` and
:func:`~mimii_lib.evaluation.auc`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimii_lib.run.experiment import Run, runs_of

__all__ = ["Run", "runs_of"]


def __getattr__(name: str) -> Any:
    """Import the experiment when it is asked for: what executes notebooks can do without its libraries."""
    if name not in __all__:
        raise AttributeError(name)
    from mimii_lib.run import experiment

    return getattr(experiment, name)
