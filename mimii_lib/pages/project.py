"""What the project says of itself: citation, version, address, and the weights' origins and licences.

Each fact stands in one place: the version in ``pyproject.toml``, authors and the archive's DOI in ``CITATION.cff``, the
repository's address in ``_config.yml``, and what is known of weights in ``weights.csv`` beside this module.
``python -m mimii_lib.pages.project`` writes ``codemeta.json`` from them.
"""

import json
import re
import tomllib
from importlib.metadata import distributions
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from mimii_lib import extractors
from mimii_lib.data.weights import Weights
from mimii_lib.pages.metadata import LICENCES
from mimii_lib.run.profiles import ROOT

_WEIGHTS = pd.read_csv(str(files("mimii_lib.pages") / "weights.csv"))


def project() -> dict[str, Any]:
    """Return the table ``project`` of the checkout's ``pyproject.toml``."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def citation() -> dict[str, Any]:
    """Return what the checkout's ``CITATION.cff`` says."""
    return dict(yaml.safe_load((ROOT / "CITATION.cff").read_text()))


def repository() -> str:
    """Return the address of the public copy of the checkout; "" while there is none."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    return str(config["sphinx"]["config"]["html_theme_options"]["repository_url"])


def codemeta() -> dict[str, Any]:
    """Return the content of ``codemeta.json``, CodeMeta 3.0."""
    cited, facts, address = citation(), project(), repository()
    content = {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": cited["title"],
        "description": facts["description"],
        "version": facts["version"],
        "license": LICENCES[facts["license"]],
        "author": [{"@type": "Organization", "name": author["name"]} for author in cited["authors"]],
        "programmingLanguage": "Python",
        "runtimePlatform": f"Python {facts['requires-python']}",
        "referencePublication": f"https://doi.org/{cited['references'][0]['doi']}",
        "identifier": f"https://doi.org/{cited['doi']}" if "doi" in cited else "",
        "codeRepository": address,
        "issueTracker": f"{address}/issues" if address else "",
    }
    return {name: value for name, value in content.items() if value}


def weights_facts(used: Weights) -> dict[str, str]:
    """Return source, sha256, origin, licence and known limits of the weights of an extractor."""
    untrained = extractors.get(used.extractor).seed is not None
    source = "random" if untrained else used.source.partition(":")[0]
    rows = _WEIGHTS[(_WEIGHTS.source == source) & _WEIGHTS.extractor.isin([used.extractor, "*"])]
    return {"source": used.source, "sha256": used.sha256, **rows.iloc[0][["origin", "licence", "limits"]]}


def lock() -> pd.DataFrame:
    """Return the packages that ``constraints.txt`` pins: package, pinned, and installed (None where it is not)."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), flags=re.M)
    installed = {plain_name(one.name): one.version for one in distributions()}
    rows = [(name, pin, installed.get(plain_name(name))) for name, pin in pins]
    return pd.DataFrame(rows, columns=["package", "pinned", "installed"])


def plain_name(package: str) -> str:
    """Return the name of a package as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


if __name__ == "__main__":
    (ROOT / "codemeta.json").write_text(json.dumps(codemeta(), indent=2, ensure_ascii=False) + "\n")
