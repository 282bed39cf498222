"""The weights of the networks that a run uses: found once, before anything is computed."""

from mimii_lib.data.weights import Weights, WeightsNotFound, find_weights
from mimii_lib.errors import NotRun, unknown_value
from mimii_lib.run.profiles import Profile
from mimii_lib.settings import CLIP_SYSTEMS
from mimii_lib.systems import catalogue


class NetworkWeights:
    """Weights of the extractors of a run, and of the networks whose maps its clip systems take."""

    def __init__(self, profile: Profile):
        self.profile = profile
        self._weights = self._find_weights()
        self._map_weights = self._find_map_weights()

    def _find_weights(self) -> dict[str, Weights | WeightsNotFound]:
        """Look for the weights of every extractor, once and before anything is computed."""
        return {name: self._find(name, self.profile.weight_sources) for name in self.profile.extractors}

    def _find(self, extractor: str, sources: tuple[str, ...]) -> Weights | WeightsNotFound:
        try:
            return find_weights(extractor, self.profile.weights, sources)
        except WeightsNotFound as error:
            return error

    def _find_map_weights(self) -> dict[str, Weights | WeightsNotFound]:
        """Look for the weights of networks whose maps clip systems take; a package is always one of the sources."""
        used = [catalogue.SYSTEMS[name].extractors for name in self.profile.detectors if name in CLIP_SYSTEMS]
        sources = tuple(dict.fromkeys((*self.profile.weight_sources, "package")))
        return {name: self._weights.get(name) or self._find(name, sources) for names in used for name in names}

    def weights(self, extractor: str) -> Weights:
        """Return the weights of an extractor, or raise with the reason and the remedy."""
        known = self._map_weights | self._weights
        if extractor not in known:
            raise unknown_value("extractors", extractor, self._weights)
        if isinstance(weights := known[extractor], WeightsNotFound):
            raise weights
        return weights

    @property
    def weights_used(self) -> dict[str, Weights]:
        """The weights of the extractors that can run."""
        return {name: weights for name, weights in self._weights.items() if isinstance(weights, Weights)}

    @property
    def unavailable_extractors(self) -> dict[str, str]:
        """Extractors that were asked for and have no weights, with the reason."""
        return {name: str(error) for name, error in self._weights.items() if isinstance(error, WeightsNotFound)}

    @property
    def unavailable_systems(self) -> dict[str, str]:
        """Clip systems that were asked for and cannot run, for lack of weights or of a package, with the reason."""
        systems = {name: catalogue.SYSTEMS[name] for name in self.profile.detectors if name in CLIP_SYSTEMS}
        reasons = {name: str(error) for name, error in self._map_weights.items() if isinstance(error, WeightsNotFound)}
        without = {
            name: reasons[network]
            for name, system in systems.items()
            for network in system.extractors
            if network in reasons
        }
        return without | {name: system.missing_package for name, system in systems.items() if system.missing_package}

    @property
    def extractors(self) -> list[str]:
        """Extractors that can run; raises :class:`NotRun` with the reasons if there is none."""
        if not self.weights_used:
            raise NotRun(f"no network has weights ({'; '.join(self.unavailable_extractors.values())})")
        return list(self.weights_used)
