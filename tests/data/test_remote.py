"""Single clips out of remote archives: the clips of the archive bit for bit, whatever the server does."""

import itertools
import json
import mmap
import shutil
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from archives import DCASE, ENTRIES, FILES, MONO, NAME, SMALL, channel_of, clip, kept, packed, register
from bad_server import BadServer, Fault
from kills import killed

from mimii_lib import dataset
from mimii_lib.data import record, remote, selection
from mimii_lib.errors import MimiiError

BOTH = FILES | {DCASE: SMALL}
pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def few(get):
    """Return a function that fetches a normal and an abnormal clip of each ID of DCASE's fan, or others."""
    return lambda mirror, **how: get(mirror, **({"files": {DCASE: SMALL}, "clips": 1} | how))


def are_clips(files, entries=MONO):
    """Return whether all files, bytes by name, are clips of an archive, bit for bit."""
    return files.items() <= dict(entries).items()


@pytest.mark.parametrize(("name", "channel"), [(DCASE, 0), (NAME, 0), (NAME, 5), (NAME, None)])
@pytest.mark.parametrize("how", [{"clips": 9}, {"clips": 1, "abnormal": 2}, {"ids": ["id_02"]}])
def test_clips_are_those_of_the_archive(name, channel, how, few, tmp_path):
    """From a server as from a folder, and the record says of each what the archive holds."""
    (tmp_path / name).write_bytes(BOTH[name])
    with BadServer(BOTH) as server:
        for mirror, dest in ((server, "remote"), (tmp_path, "local")):
            few(mirror, files={name: BOTH[name]}, channel=channel, dest=tmp_path / dest, **({"clips": None} | how))
        assert server.most <= selection.CONNECTIONS
    entries = MONO if name == DCASE else [(f"-6_dB_fan/{path}", content) for path, content in ENTRIES]
    dest = tmp_path / "remote"
    assert are_clips(kept(dest), [(path, channel_of(content, channel)) for path, content in entries])
    assert kept(dest) == kept(tmp_path / "local")
    table, there = dataset.clips(dest, "fan", -6), {"normal": 6, "abnormal": 3} if name == DCASE else {}
    most = {"normal": how.get("clips", 9), "abnormal": how.get("abnormal", how.get("clips", 9))}
    assert table.groupby(["id", "label"]).size().to_dict() == {
        (machine_id, label): min(count, there.get(label, 2))
        for machine_id in how.get("ids", ["id_00", "id_02"])
        for label, count in most.items()
    }
    assert dataset.kind(dest, table, "fan") == "sample"
    (entry,) = dataset.download_record(dest)
    crcs = {path: f"{zlib.crc32(content):08x}" for path, content in entries}
    assert entry["clips"] == {path: crcs[path] for path in table.path}
    (entry,) = dataset.downloads(dest)
    assert entry["checked"] == record.BY_CLIP
    assert entry["address"] == f"{server.url}/{name}"
    assert entry["licence"] == ("CC BY-NC-SA 4.0" if name == DCASE else "CC BY-SA 4.0")


def test_a_sample_is_the_same_for_everybody_and_grows(few, tmp_path):
    """Two people get the same clips; more clips later fetch the rest alone; another seed gives other clips."""
    with BadServer({DCASE: SMALL}) as server:
        few(server)
        before, first = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.wav")}, kept(tmp_path / "data")
        sent = server.sent
        assert few(server, clips=2) == ["fan: 4 clips fetched, channel 0; 4 were there already"]
        assert {path: path.stat().st_mtime_ns for path in before} == before
        assert server.sent - sent < len(SMALL) + 6 * len(
            MONO[0][1]
        )  # the directory's end is all of so small an archive
        few(server, clips=2, dest=tmp_path / "another person")
        assert kept(tmp_path / "another person") == kept(tmp_path / "data")
        few(server, seed=1, dest=tmp_path / "seed")
        assert kept(tmp_path / "seed").keys() != first.keys()
        few(server, ids=["id_02"], dest=tmp_path / "one ID")
        assert kept(tmp_path / "one ID").items() == {item for item in first.items() if "id_02" in item[0]}
    requests = len(server.requests)
    assert few("http://nowhere.invalid", clips=2) == ["fan: is there already"]
    next((tmp_path / "data").rglob("*.wav")).unlink()
    with BadServer({DCASE: SMALL}) as server:
        assert few(server, clips=2) == ["fan: 1 clips fetched, channel 0; 7 were there already"]
        assert len(server.requests) == 2 < requests


def test_the_smaller_source_is_taken_where_it_holds_what_is_wanted(get, few, tmp_path):
    """DCASE's at -6 dB for one channel, and the message says why; what another source has begun goes on there."""
    with BadServer(BOTH) as server:
        messages = get(server, files=BOTH)
        assert messages[0].startswith("source: dcase2020, which holds what is wanted, the first channel at -6 dB, in ")
        assert kept(tmp_path / "data") == dict(MONO)
        assert dataset.downloads(tmp_path / "data")[0]["checked"] == record.BY_ARCHIVE
        assert get(server, files=BOTH, source="mimii") == ["-6_dB_fan: is there already"]
        for how in ({"channel": None}, {"source": "mimii"}, {"channel": 1}):
            shutil.rmtree(tmp_path / "data")
            get(server, files=BOTH, **how)
            assert kept(tmp_path / "data").keys() == {f"-6_dB_fan/{path}" for path, _ in ENTRIES}
        few(server, files=BOTH, source="mimii", dest=tmp_path / "few")
        few(server, files=BOTH, clips=2, dest=tmp_path / "few")
        assert {path.name for path in (tmp_path / "few").iterdir()} >= {"-6_dB_fan"}
        assert len(kept(tmp_path / "few")) == 8
        with pytest.raises(
            MimiiError, match=f"single clips of {NAME}, channel 0.*, so none of {DCASE}.*; take the folder"
        ):
            few(server, files=BOTH, source="dcase2020", dest=tmp_path / "few")
    for how in ({"snr": 0}, {"channel": None}, {"channel": 3}):
        with pytest.raises(MimiiError, match="source: dcase2020 holds channel 0 at -6 dB alone, found"):
            get(None, files=BOTH, source="dcase2020", **how)
    for how, sentence in (
        ({"source": "kaggle"}, "source: 'kaggle' is not known; expected one of auto, dcase2020, mimii"),
        ({"clips": 0}, "clips: found 0, expected a whole number from 1"),
        ({"abnormal": -1}, "abnormal: found -1, expected a whole number from 0"),
    ):
        with pytest.raises(MimiiError, match=sentence):
            get(None, **how)
    with BadServer(BOTH) as server, pytest.raises(MimiiError, match="machine ID: 'id_04' is not known"):
        few(server, ids=["id_04"], dest=tmp_path / "nothing")


SOON = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
PATIENT = {
    "cut": [Fault(cut=10_000), Fault(cut=20_000), Fault(), Fault(cut=100), Fault(cut=5000)],
    "stall": [Fault(), Fault(cut=100, stall=5)],
    "busy": [
        Fault(status=503, retry_after="7"),
        Fault(),
        *[Fault(status=429, retry_after=SOON)] * 4,
        Fault(status=500),
    ],
    "wrong once": [Fault(), Fault(wrong=True), Fault(wrong=True)],
    "more than was wanted": [Fault(), *[Fault(more=b"more")] * 9],
}


@pytest.mark.parametrize("case", PATIENT)
def test_a_transfer_goes_on(case, few, waits, tmp_path):
    """Whatever broke off, was busy or wrong, the clips are the same; the server may ask for patience."""
    with BadServer({DCASE: SMALL}, PATIENT[case]) as server:
        few(server)
        few(server.url, dest=tmp_path / "undisturbed")
    assert kept(tmp_path / "data") == kept(tmp_path / "undisturbed")
    assert len(kept(tmp_path / "data")) == 4
    if case == "busy":
        assert waits[0] == 7 and waits[1] == max(remote.WAITS)


def at_end(content, offset, new):
    """Return an archive with other bytes at an offset in its end record, which begins 22 bytes before its end."""
    place = len(content) - 22 + offset
    return content[:place] + new + content[place + len(new) :]


V1, V2 = ({"ETag": f'"{n}"'} for n in (1, 2))
OLD, NEW = ({"Last-Modified": f"Mon, 0{n} Jun 2020 00:00:00 GMT"} for n in (1, 2))
HOPELESS = {
    "no ranges": ({}, [Fault(ignore_range=True)] * 9, "whole file for a byte range.*download whole archives.*--clips"),
    "no ranges later": ({}, [Fault(), *[Fault(ignore_range=True)] * 9], "download whole archives"),
    "another ETag": (
        {},
        [Fault(headers=V1), *[Fault(headers=V2)] * 9],
        'changed between two requests .ETag "1", then "2"',
    ),
    "another date": (
        {},
        [Fault(headers=OLD), *[Fault(headers=NEW)] * 9],
        "changed between two requests .Last-Modified",
    ),
    "another size": ({}, [Fault(), *[Fault(size=len(SMALL) - 1)] * 9], "gave other bytes"),
    "another file": ({}, [Fault(size=1000)] * 9, f"gave other bytes, expected bytes 0-{len(SMALL) - 1}/"),
    "no place": ({}, [Fault(), *[Fault(shift=1)] * 9], "gave other bytes"),
    "gone": ({}, [Fault(), *[Fault(status=404)] * 9], "answered 404"),
    "busy": ({}, [Fault(), *[Fault(status=503)] * 99], "given up after 9 .* 4 clips are missing, the others are kept"),
    "always wrong": ({}, [Fault(), *[Fault(wrong=True)] * 99], "gave fan/.*wav with wrong content .no entry begins"),
    "no directory": ({DCASE: SMALL[:-400]}, [], "no directory that can be read .File is not a zip"),
    "a directory cut off": ({DCASE: at_end(SMALL, 12, b"\x40")}, [], "no directory that can be read"),
    "a directory nowhere": ({DCASE: at_end(SMALL, 16, b"\xff\xff\xff\x7f")}, [], "begins at byte -.*, outside of the"),
    "another directory": ({DCASE: SMALL[:-6] + b"\0" + SMALL[-5:]}, [], "no entry begins there|outside of the"),
    "a huge directory": ({DCASE: at_end(SMALL, 12, b"\xff\xff\xff\x7f")}, [], "no directory that can be read"),
}


@pytest.mark.parametrize("case", HOPELESS)
def test_a_transfer_that_cannot_succeed_ends_in_a_sentence(case, few, tmp_path):
    """Nothing is half-written, and the same command goes on once the server serves the archive."""
    files, faults, sentence = HOPELESS[case]
    with (
        BadServer(files or {DCASE: SMALL}, faults) as server,
        pytest.raises(MimiiError, match=f"{DCASE}: .*{sentence}"),
    ):
        few(server, files=files or {DCASE: SMALL})
    assert not [name for name in kept(tmp_path / "data") if not name.startswith((".download", "fan/t"))]
    assert are_clips({name: wav for name, wav in kept(tmp_path / "data").items() if name.endswith(".wav")})
    with BadServer({DCASE: SMALL}) as server:
        few(server)
    assert len(kept(tmp_path / "data")) == 4
    assert are_clips(kept(tmp_path / "data"))


def test_an_archive_that_was_replaced(few, tmp_path):
    """Clips that differ in a new archive of the same name are fetched again, and no other."""
    other = [
        (path, clip(999, channels=1, samples=3000, format="WAV") if "id_00" in path else wav) for path, wav in MONO
    ]
    new = {DCASE: packed(other)}
    with BadServer({DCASE: SMALL}) as server:
        few(server)
    with BadServer(new) as server:
        few(server, files=new, clips=2)
    assert len(kept(tmp_path / "data")) == 8
    assert are_clips(kept(tmp_path / "data"), other)


@pytest.mark.parametrize("whole", [False, True])
def test_a_kill_at_any_step(whole, few, get, tmp_path):
    """No clip that is in its place is fetched twice, and in the end the clips are those of an undisturbed download."""
    files = {NAME: packed(ENTRIES[::4])}  # 8 channels, of which one is kept
    data, how = tmp_path / "data", {"files": files, "clips": None if whole else 2}
    with BadServer(files) as server:
        few(server, dest=tmp_path / "undisturbed", **how)
        expected = kept(tmp_path / "undisturbed")
        for step in itertools.count(1):
            if whole:
                few(server, files=files, clips=1, ids=["id_00"])
            if not killed(lambda: few(server, **how), at=step):
                break
            there = {path.relative_to(data).as_posix(): path.stat() for path in (data / "-6_dB_fan").rglob("[!.]*.wav")}
            assert {name: (data / name).read_bytes() for name in there}.items() <= expected.items()
            few(server, **how)
            files_left = kept(data)
            files_left.pop(record.JOURNAL, None)  # of a kill when all was done; the next record removes it
            assert files_left == expected
            (entry,) = dataset.download_record(data)
            assert entry["clips"].keys() == expected.keys()
            assert entry["checked"] == (record.BY_ARCHIVE if whole else record.BY_CLIP)
            if not whole:
                assert all((data / name).stat().st_mtime_ns == state.st_mtime_ns for name, state in there.items())
            shutil.rmtree(data)
    assert step > 15
    assert dataset.kind(data, dataset.clips(data, "fan", -6), "fan") == "sample"


def test_a_size_that_is_not_registered(get, few, tmp_path):
    """The server's, or the folder's, is taken: the md5 decides on whole archives, the CRC-32 on single clips."""
    registry = register({DCASE: SMALL}, tmp_path / "sizes.csv", sized=False)
    (tmp_path / DCASE).write_bytes(SMALL)
    with BadServer({DCASE: SMALL}, [Fault(), Fault(cut=50_000)]) as server:
        get(server, registry=registry)
        few(server, registry=registry, dest=tmp_path / "few")
    get(tmp_path, registry=registry, dest=tmp_path / "local")
    assert kept(tmp_path / "data") == kept(tmp_path / "local") == dict(MONO)
    assert are_clips(kept(tmp_path / "few"))
    with BadServer({DCASE: SMALL[:-1]}) as server, pytest.raises(MimiiError, match="gave md5"):
        get(server, registry=registry, dest=tmp_path / "other")


def test_clips_beyond_four_gigabytes(few, tmp_path):
    """An archive with ZIP64 offsets is read like any other, and no more of it than its clips and its end."""
    file = tmp_path / DCASE
    with file.open("wb") as sparse:
        sparse.truncate(5 << 30)
    with zipfile.ZipFile(file, "a") as archive:
        for path, content in MONO:
            archive.writestr(path, content)
    registry = tmp_path / "registry.csv"
    registry.write_text(f"name,bytes,md5\n{DCASE},{file.stat().st_size},{'0' * 32}\n")
    with (
        file.open("rb") as sparse,
        mmap.mmap(sparse.fileno(), 0, access=mmap.ACCESS_READ) as content,
        BadServer({DCASE: content}) as server,
    ):
        few(server, registry=registry, clips=9)
        assert server.sent < 3 << 20
    few(tmp_path, registry=registry, clips=9, dest=tmp_path / "local")
    assert kept(tmp_path / "data") == kept(tmp_path / "local") == dict(MONO)


def test_a_record_that_cannot_be_read_is_named(few, tmp_path):
    """A file that is no record, or a torn line of the journal, is no reason to lose clips."""
    with BadServer({DCASE: SMALL}) as server:
        few(server)
        (tmp_path / "data" / record.JOURNAL).write_bytes(b'["dev_data_fan.zip", "fan/tr')
        few(server, clips=2)
    assert len(kept(tmp_path / "data")) == 8
    for text in ("", "{}", "[1]", json.dumps([{"name": "some"}])):
        (tmp_path / "data" / dataset.DOWNLOADED).write_text(text)
        with pytest.raises(MimiiError, match="download.json: cannot be read; expected the record of a download"):
            few("http://nowhere.invalid")
