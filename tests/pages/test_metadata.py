"""What is said of the project and of a run to archives and search engines, read back by the formats' own libraries."""

import hashlib
import json
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import mlcroissant
import pandas as pd
import pytest
from rocrate.rocrate import ROCrate

from mimii_lib.data import sources
from mimii_lib.data.weights import BUNDLED, SOURCES, Weights
from mimii_lib.extractors import EXTRACTORS
from mimii_lib.pages import metadata, project

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
CFF = (
    "abstract authors cff-version commit contact date-released doi identifiers keywords license license-url message "
    "preferred-citation references repository repository-artifact repository-code title type url version"
)
"""Keys that the Citation File Format 1.2.0 allows at the top."""
CODEMETA = (
    "@context @type name description version license author programmingLanguage runtimePlatform referencePublication "
    "identifier codeRepository issueTracker"
)
"""Terms of CodeMeta 3.0 and of schema.org that are used."""


def test_the_version_and_the_authors_are_the_same_everywhere():
    """Citation, change log, CodeMeta, the installed package and pyproject.toml agree."""
    cited, facts = project.citation(), project.project()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)[1]
    assert {cited["version"], newest, version(metadata.PROJECT), project.codemeta()["version"]} == {facts["version"]}
    assert cited["license"] == facts["license"]
    assert [author["name"] for author in cited["authors"]] == [author["name"] for author in facts["authors"]]
    assert facts["authors"][0]["name"] in (ROOT / "LICENSE").read_text()


def test_codemeta_json_is_written_from_the_other_files():
    """The committed file is what ``python -m mimii_lib.pages.project`` would write, of known terms."""
    content = json.loads((ROOT / "codemeta.json").read_text())
    assert content == project.codemeta()
    assert content.keys() <= set(CODEMETA.split())


def test_citation_cff_is_valid():
    """It has what the format requires, nothing else, and people with a name."""
    cited = project.citation()
    assert {"authors", "cff-version", "message", "title"} <= cited.keys() <= set(CFF.split())
    assert cited["cff-version"] == "1.2.0" and cited["type"] in ("software", "dataset")
    assert isinstance(cited["version"], str)
    for reference in cited["references"]:
        assert {"authors", "title", "type"} <= reference.keys()
        assert re.fullmatch(r"10\.\d{4,9}/\S+", reference["doi"])
        assert all({"family-names", "given-names"} <= author.keys() for author in reference["authors"])


@pytest.mark.parametrize("name", EXTRACTORS)
def test_origin_and_licence_are_known_for_every_source_of_weights(name):
    """Each source that an extractor can have gives an origin, a licence and limits; packages are named one by one."""
    kinds = ["drawn at random, seed 0"] if EXTRACTORS[name].seed is not None else [f"{kind}: x" for kind in SOURCES]
    kinds = [kind for kind in kinds if not kind.startswith("package") or name in BUNDLED]
    kinds = [kind for kind in kinds if not kind.startswith("torchvision") or EXTRACTORS[name].torchvision]
    for kind in kinds:
        facts = project.weights_facts(Weights(name, kind, "ab" * 32))
        assert all(facts[fact] for fact in ("origin", "licence", "limits"))
        assert facts["source"] == kind


SUMMARY = {
    "date": "2026-01-31",
    "commit": "0" * 40,
    "versions": {metadata.PROJECT: "0.1.0", "numpy": "2.0", "python": "3.11"},
    "machine": {"system": "Linux", "processor": "some", "cores": 2},
    "data": {"what": "the miniature", "snr": -6, "ids": [{"machine": "fan", "id": "id_00", "sha256": "ab" * 32}]},
    "profile": "quick",
    "settings": {"imaging": {"hop": 512, "colormap": "gray"}, "autoencoders": {"seeds": None}},
    "seeds": {"fan": [0, 1]},
    "engine": "torch 2.4, cpu, float32",
    "weights": {"squeezenet1_1": {"source": "package", "licence": "BSD", "sha256": "cd" * 32}},
}


def test_an_ro_crate_describes_the_run(tmp_path):
    """Read back, it joins the software, every setting, input and weight to the files, which have their sha256."""
    for name in ("auc.csv", "splits.csv", "report.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / metadata.CRATE).write_text(json.dumps(metadata.ro_crate(SUMMARY, tmp_path)))
    crate = ROCrate(tmp_path)
    run = crate.get("#run")
    assert {file.id: file["sha256"] for file in run["result"]} == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in ("auc.csv", "splits.csv", "report.json")
    }
    values = {entity["name"]: entity.properties().get("value") for entity in run["object"]}
    assert values["imaging.hop"] == "512" and values["imaging.colormap"] == "gray"
    assert values["autoencoders.seeds"] == "null" and values["seeds of fan"] == "[0, 1]"
    assert "ab" * 32 in values.values()
    assert "cd" * 32 in [entity.properties().get("sha256") for entity in run["object"]]
    assert run["instrument"]["version"] == "0.1.0" and "0" * 40 in run["instrument"]["description"]
    assert [profile.id for profile in crate.root_dataset["conformsTo"]] == [metadata.PROCESS_RUN]
    assert {part.id for part in crate.root_dataset["hasPart"]} == {file.id for file in run["result"]}
    ids = {entity.id for entity in crate.get_entities()}
    graph = json.loads((tmp_path / metadata.CRATE).read_text())["@graph"]
    assert set(re.findall(r'"@id": "([^"h][^"]*)"', json.dumps(graph))) <= ids


def described(folder: Path, kind: str, licence: str) -> dict:
    """Return the Croissant metadata of two machine types, with splits in a folder."""
    table = {"seed": [0, 0, 1], "path": [f"-6_dB_fan/fan/id_00/normal/{i}.wav" for i in range(3)]}
    pd.DataFrame(table | {"role": ["train", "test", "test"]}).to_csv(folder / "splits.csv", index=False)
    facts = SimpleNamespace(kind=kind, licence=licence)
    runs = [SimpleNamespace(machine=m, profile=SimpleNamespace(snr=-6), recordings=facts) for m in ("fan", "pump")]
    return metadata.croissant(runs, folder)


def read_back(folder: Path, content: dict) -> mlcroissant.Dataset:
    (folder / metadata.CROISSANT).write_text(json.dumps(content))
    return mlcroissant.Dataset(jsonld=str(folder / metadata.CROISSANT))  # raises where the metadata are not valid


def test_croissant_readers_find_the_splits(tmp_path):
    """The library of the format accepts the metadata, and its records are the rows of splits.csv."""
    read = read_back(tmp_path, described(tmp_path, "miniature", ""))
    assert not read.metadata.issues.errors
    rows = [tuple(record.values()) for record in read.records("splits")]
    table = pd.read_csv(tmp_path / "splits.csv")
    assert rows == [(seed, path.encode(), role.encode()) for seed, path, role in table.itertuples(index=False)]


@pytest.mark.parametrize("source", sources.SOURCES)
def test_croissant_names_the_published_archives(tmp_path, source):
    """Recordings of MIMII are in the archives of their own source, with md5, licence and citation."""
    published = sources.published(source)
    content = described(tmp_path, "MIMII", f"{published.licence}: {published.citation}")
    read = read_back(tmp_path, content)
    assert not read.metadata.issues.errors
    archives = {one["@id"]: one["md5"] for one in content["distribution"] if "md5" in one}
    expected = {name: one.md5 for name, one in sources.read_registry().items() if one.source == source}
    assert archives.items() <= expected.items() and len(archives) == 2
    assert content["license"] == metadata.LICENCES[published.licence]
    assert content["citeAs"] == published.citation
