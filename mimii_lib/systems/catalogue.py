"""The clip systems by name: the controls without a network, and the systems after the paper.

To add one, add a row to :data:`SYSTEMS` and its names to :data:`mimii_lib.settings.AFTER_PAPER`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline

from mimii_lib.detectors import Standardiser
from mimii_lib.settings import Settings
from mimii_lib.systems.back_ends import BandNeighbours, Mahalanobis, Neighbours
from mimii_lib.systems.ensemble import Ensemble
from mimii_lib.systems.front_ends import (
    Bands,
    Clips,
    Decibels,
    FrontEnd,
    HandMade,
    Level,
    Maps,
    MapShapes,
    describe,
    size,
)
from mimii_lib.systems.peer import PyodNeighbours, reason_not_run

BackEnd = Callable[[Settings, int], Any]  # returns an estimator, not fitted, for vectors of so many bands


@dataclass(frozen=True)
class ClipSystem:
    """A system that scores a clip as a whole: one front end and back end, or several that are combined."""

    name: str
    members: tuple[tuple[FrontEnd, BackEnd], ...]

    @property
    def extractors(self) -> tuple[str, ...]:
        """Networks whose maps the system takes."""
        return tuple(dict.fromkeys(part.extractor for part, _ in self.members if isinstance(part, Maps)))

    @property
    def missing_package(self) -> str:
        """Why a package that the system needs cannot be used; "" if all are there."""
        return reason_not_run() if any(isinstance(part, HandMade) for part, _ in self.members) else ""

    @property
    def decibels(self) -> tuple[Decibels, ...]:
        """References of the spectrograms that the system takes; maps are of spectrograms with a fixed reference."""
        parts = [part for part, _ in self.members if isinstance(part, Bands | Maps)]
        return tuple(dict.fromkeys(part.decibels if isinstance(part, Bands) else "fixed" for part in parts))


def _standardised(estimator: Callable[[Settings], Any]) -> BackEnd:
    return lambda settings, n_bands: make_pipeline(Standardiser(settings.detectors.variance_floor), estimator(settings))


_knn = _standardised(lambda settings: Neighbours(settings.detectors.n_neighbors))
_mahalanobis = _standardised(lambda settings: Mahalanobis())


def _small_mixture(settings: Settings) -> Any:
    from sklearn.mixture import GaussianMixture  # its import takes longer than that of all other back ends

    components = settings.systems.components
    return GaussianMixture(components, covariance_type="diag", reg_covar=1e-3, random_state=0)


_mixture = _standardised(_small_mixture)


def _neighbours(settings: Settings, n_bands: int) -> BandNeighbours:
    return BandNeighbours(n_bands, settings.systems.density_neighbors, settings.detectors.memory)


_NETWORK = "efficientnet_lite0"
_MAPS = tuple((Maps(_NETWORK, layer), _neighbours) for layer in range(3))
_LOUDEST = (Bands("fixed", ("mean", "loudest")), _mahalanobis)

_MEMBERS: dict[str, tuple[tuple[FrontEnd, BackEnd], ...]] = {
    "knn": ((Bands("clip", ("mean", "deviation")), _knn),),
    "mahalanobis": ((Bands("clip", ("mean", "deviation")), _mahalanobis),),
    "level": ((Level(), _mahalanobis),),
    "spectrum-mahalanobis": ((Bands("fixed", ("mean",)), _mahalanobis),),
    "spectrum-density": ((Bands("fixed", ("mean",)), _standardised(lambda settings: _neighbours(settings, 1))),),
    "loudest-mahalanobis": (_LOUDEST,),
    "ranked-gmm": ((Bands("fixed", ("ranked",)), _mixture),),
    "maps-early": (_MAPS[0],),
    "maps-middle": (_MAPS[1],),
    "maps-late": (_MAPS[2],),
    "ensemble": (*_MAPS, _LOUDEST),
    "pyod": ((HandMade(), lambda settings, n_bands: PyodNeighbours()),),
}
SYSTEMS = MappingProxyType({name: ClipSystem(name, members) for name, members in _MEMBERS.items()})
"""Clip systems by name. The ensemble's members differ in what they hear: early, middle and late maps of a network, and
the loudness of the bands without any."""


def vectors(system: ClipSystem, clips: Clips, shapes: MapShapes) -> NDArray[np.floating]:
    """Return what a system takes of all clips: (clips, columns). `shapes` are those of its network's maps."""
    return np.concatenate([describe(part, clips, shapes) for part, _ in system.members], axis=1)


def estimator(system: ClipSystem, settings: Settings, shapes: MapShapes) -> Any:
    """Return the estimator of a system for its :func:`vectors`, not fitted."""
    sizes = [size(part, settings.imaging.n_mels, shapes) for part, _ in system.members]
    estimators = [
        back_end(settings, n_bands) for (_, back_end), (_, n_bands) in zip(system.members, sizes, strict=True)
    ]
    if len(estimators) == 1:
        return estimators[0]
    ends = np.cumsum([columns for columns, _ in sizes])
    members = [
        (f"member {number}", member, slice(int(end - columns), int(end)))
        for number, (member, (columns, _), end) in enumerate(zip(estimators, sizes, ends, strict=True), 1)
    ]
    return Ensemble(members, settings.systems.combine)
