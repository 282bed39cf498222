"""Sounds and images that pages embed become files beside them."""

import base64
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def external_media():
    file = Path(__file__).parents[2] / "book" / "_ext" / "external_media.py"
    spec = importlib.util.spec_from_file_location("external_media", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_embedded_media_become_files(external_media, tmp_path):
    """The text stays as it was; each sound and image becomes one file of the same bytes, however often it is shown."""
    random = np.random.default_rng(0)
    contents = {kind: random.bytes(999) for kind in ("audio/mpeg", "image/png")}
    sound, image = (f"data:{kind};base64,{base64.b64encode(data).decode()}" for kind, data in contents.items())
    body = f'<p>data:</p><audio src="{sound}"></audio><img alt="a" src="{image}"><img src="b.png"><audio src="{sound}">'
    page = external_media.externalise(body, tmp_path, lambda name: f"../{name}")
    assert re.sub("<[^>]*>", "", page) == re.sub("<[^>]*>", "", body)
    assert len(list(tmp_path.rglob("*.*"))) == 2
    links = re.findall(r'src="\.\./([^"]*)"', page)
    assert [(tmp_path / link).read_bytes() for link in links] == [*contents.values(), contents["audio/mpeg"]]
    assert [Path(link).suffix for link in links] == [".mp3", ".png", ".mp3"]
    assert 'src="b.png"' in page
    assert external_media.externalise('<audio preload="metadata">', tmp_path, str) == '<audio preload="none">'
    assert external_media.externalise(page, tmp_path, str.upper) == page
