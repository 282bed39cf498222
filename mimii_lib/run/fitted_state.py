"""Fitted estimators as plain values and arrays, and back: nothing is pickled, and only known classes are made.

The state of an estimator is its class's name and its attributes. Numbers, texts, lists and mappings stay what they are,
arrays stay arrays, and what JSON does not know is a mapping with one key such as ``tuple``.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

CLASSES = {
    "BandNeighbours": "mimii_lib.systems.back_ends",
    "BayesianGaussianMixture": "sklearn.mixture",
    "Ensemble": "mimii_lib.systems.ensemble",
    "ExtraTreeRegressor": "sklearn.tree",
    "GaussianMixture": "sklearn.mixture",
    "IsolationForest": "sklearn.ensemble",
    "KDE": "mimii_lib.detectors",
    "Mahalanobis": "mimii_lib.systems.back_ends",
    "Neighbours": "mimii_lib.systems.back_ends",
    "OneClassSVM": "sklearn.svm",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "Standardiser": "mimii_lib.detectors",
}
"""Classes that may be restored, with their modules; their methods are code of this environment, never of a file."""


def state(value: Any) -> Any:
    """Return the state of a fitted estimator, or of a value inside one; an unknown class raises TypeError."""
    name = type(value).__name__
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return value
    if isinstance(value, list):
        return [state(part) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [state(part) for part in value]}
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if isinstance(value, dict):
        return {"mapping": {key: state(part) for key, part in value.items()}}
    if name in CLASSES:
        return {"class": name, "attributes": {key: state(part) for key, part in vars(value).items()}}
    if name in _SPECIAL:
        return {name: _SPECIAL[name][0](value)}
    raise TypeError(f"{name} is no part of an estimator that can be kept")


def restored(value: Any) -> Any:
    """Return the estimator of a state; one that :func:`state` does not write raises ValueError."""
    if isinstance(value, list):
        return [restored(part) for part in value]
    if not isinstance(value, dict):
        return value
    if [*value] == ["class", "attributes"] and value["class"] in CLASSES:
        known = getattr(import_module(CLASSES[value["class"]]), value["class"])
        estimator = known.__new__(known)
        attributes = {key: restored(part) for key, part in value["attributes"].items()}
        if methods := [key for key in attributes if hasattr(known, key)]:
            raise ValueError(f"{value['class']} has no attribute {methods[0]!r} of its own")
        vars(estimator).update(attributes)
        return estimator
    ((kind, content),) = value.items()
    if kind == "tuple":
        return tuple(restored(content))
    if kind == "slice":
        return slice(*content)
    if kind == "mapping":
        return {key: restored(part) for key, part in content.items()}
    if kind in _SPECIAL:
        return _SPECIAL[kind][1](content)
    raise ValueError(f"{kind!r} is no part of an estimator")


def _tree_state(tree: Any) -> Any:
    inside = tree.__getstate__()
    return {**state(inside)["mapping"], "shape": [tree.n_features, tree.n_classes.tolist(), tree.n_outputs]}


def _tree(content: dict[str, Any]) -> Any:
    """Return a tree of an isolation forest, after its branches are known to lead to nodes of it."""
    from sklearn.tree._tree import Tree

    n_features, n_classes, n_outputs = content["shape"]
    nodes, count = content["nodes"], content["node_count"]
    inner = nodes["left_child"] != -1
    ends = [nodes[side][inner] for side in ("left_child", "right_child")]
    rising = all((child > np.flatnonzero(inner)).all() and (child < count).all() for child in ends)
    feature = nodes["feature"][inner]
    if not rising or len(nodes) != count or ((feature < 0) | (feature >= n_features)).any():
        raise ValueError("a tree has a branch that leads nowhere")
    tree = Tree(n_features, np.array(n_classes, np.intp), n_outputs)
    tree.__setstate__({key: content[key] for key in ("max_depth", "node_count", "nodes", "values")})
    return tree


def _neighbours_state(nearest: Any) -> Any:
    return {"points": nearest._fit_X, "n_neighbors": nearest.n_neighbors}


def _neighbours(content: dict[str, Any]) -> Any:
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=content["n_neighbors"]).fit(content["points"])


def _peer_state(peer: Any) -> Any:
    return {"points": peer.points_}


def _peer(content: dict[str, Any]) -> Any:
    from mimii_lib.systems.peer import PyodNeighbours

    return PyodNeighbours().fit(content["points"])


def _autoencoder_state(autoencoder: Any) -> Any:
    attributes = {key: state(part) for key, part in vars(autoencoder).items() if key != "net_"}
    network = {key: tensor.numpy() for key, tensor in autoencoder.net_.state_dict().items()}
    return {"attributes": attributes, "network": network}


def _autoencoder(content: dict[str, Any]) -> Any:
    import torch

    from mimii_lib.autoencoders import DCAE
    from mimii_lib.run.stages.reconstruction import restore_autoencoder

    attributes = content["attributes"]
    autoencoder = DCAE(**{key: attributes[key] for key in DCAE().get_params()})
    kept = {"losses": torch.tensor(attributes["losses_"]), "n_pixels": attributes["n_features_in_"]}
    network = {key: torch.from_numpy(np.array(values)) for key, values in content["network"].items()}
    return restore_autoencoder(autoencoder, {"network": network, **kept})


_SPECIAL: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "DCAE": (_autoencoder_state, _autoencoder),
    "NearestNeighbors": (_neighbours_state, _neighbours),
    "PyodNeighbours": (_peer_state, _peer),
    "Tree": (_tree_state, _tree),
}
"""What is not the sum of its attributes: how its state is had, and how it is restored."""
