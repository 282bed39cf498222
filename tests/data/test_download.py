"""Downloads: what arrives is what was registered, whatever the server, the disk or the archive does."""

import csv
import errno
import hashlib
import io
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter, namedtuple
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from bad_server import BadServer, Fault, Request
from filelock import FileLock

from mimii_lib import dataset, paper
from mimii_lib.data import download, unpacking
from mimii_lib.errors import MimiiError

NAME = "-6_dB_fan.zip"
CLIPS = [f"fan/id_0{i}/{label}/0000000{k}.wav" for i in (0, 2) for label in dataset.LABELS for k in (0, 1)]
FORMAT = "WAVEX"  # as MIMII's own files of 8 channels


def clip(seed, *, channels=8, samples=2000, **how):
    """Return the bytes of a wav file of noise."""
    sound = np.random.default_rng(seed).integers(-(2**15), 2**15, (samples, channels), dtype=np.int16)
    file = io.BytesIO()
    soundfile.write(file, sound, 16_000, **({"format": FORMAT, "subtype": "PCM_16"} | how))
    return file.getvalue()


def packed(entries):
    """Return the bytes of a zip of `entries`, (name or ZipInfo, bytes) each: the same at any time."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            entry = zipfile.ZipInfo(name) if isinstance(name, str) else name
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def machine(name, seed=0):
    """Return the bytes of an archive of a machine type."""
    return packed([(path.replace("fan", name), clip(seed + n)) for n, path in enumerate(CLIPS)])


def tree(folder):
    """Return every file below a folder, hidden ones too, as bytes by name."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kept(folder):
    """Return what a download leaves: all files but its lock."""
    return {name: content for name, content in tree(folder).items() if name != ".download.lock"}


def first_channel(content):
    """Return the samples of the first channel of a wav file's bytes."""
    return soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)[0][:, 0]


ARCHIVE = machine("fan")
PUMP = machine("pump", seed=100)
FILES = {NAME: ARCHIVE, "-6_dB_pump.zip": PUMP}


@pytest.fixture
def registry(tmp_path):
    """Return a function that registers archives, given as bytes by name, and returns the CSV."""

    def write(files=FILES):
        file = tmp_path / "registry.csv"
        with file.open("w", newline="") as lines:
            rows = csv.writer(lines)
            rows.writerow(["name", "bytes", "md5"])
            rows.writerows((name, len(content), hashlib.md5(content).hexdigest()) for name, content in files.items())
        return file

    return write


@pytest.fixture
def waited(monkeypatch):
    """Return the waits between attempts, which take no time."""
    waits = []
    monkeypatch.setattr(download.time, "sleep", waits.append)
    return waits


@pytest.fixture(autouse=True)
def quick(waited, monkeypatch):
    """Let connections be given up soon, and data come in small pieces."""
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    monkeypatch.setattr(download, "_CHUNK", 1 << 12)


@pytest.fixture
def get(tmp_path, registry):
    """Return a function that downloads the fan from a server or a folder; it returns the lines of the report."""

    def fetch(mirror, *, files=FILES, machines=("fan",), dest=tmp_path / "data", **how):
        lines = []
        mirror = mirror.url if isinstance(mirror, BadServer) else str(mirror)
        how = {"snr": -6, "report": lines.append} | how
        how |= {} if "registry" in how else {"registry": registry(files)}
        download.fetch(dest, machines=machines, mirror=mirror, **how)
        return lines

    return fetch


@pytest.fixture(scope="module")
def expected():
    """Return the tree that the fan gives."""
    with zipfile.ZipFile(io.BytesIO(ARCHIVE)) as archive:
        return {f"-6_dB_fan/{name}": unpacking._one_channel(archive.read(name), 0, name) for name in archive.namelist()}


@pytest.fixture
def folder(tmp_path):
    """Return a function that puts archives into a mirror folder and returns it."""

    def put(files=FILES):
        made = tmp_path / "mirror"
        made.mkdir(exist_ok=True)
        for name, content in files.items():
            (made / name).write_bytes(content)
        return made

    return put


@pytest.fixture
def part(tmp_path):
    """Return where the part of the fan's archive lies, in a folder that exists."""
    file = tmp_path / "data" / "archives" / f"{NAME}.part"
    file.parent.mkdir(parents=True)
    return file


# The registry


def test_mimii_registers_every_snr_and_machine():
    found = download.read_registry()
    assert set(found) == {f"{snr}_dB_{name}.zip" for snr in paper.SNRS for name in paper.MACHINES}
    assert all(re.fullmatch("[0-9a-f]{32}", archive.md5) for archive in found.values())
    assert len({archive.md5 for archive in found.values()}) == len(found)
    unpacked = {name: sum(i.normal + i.abnormal for i in ids.values()) * 2_560_080 for name, ids in paper.MIMII.items()}
    assert all(0.5 < archive.bytes / unpacked[archive.machine] < 0.9 for archive in found.values())


def test_the_registry_is_the_published_one(shared):
    facts = (shared / "FACTS.md").read_text()
    rows = re.findall(r"^\| (\S+\.zip) \| (\d+) \| (\w{32}) \|$", facts, re.MULTILINE)
    assert [download.Archive(name, int(size), md5) for name, size, md5 in sorted(rows)] == sorted(
        download.read_registry().values(), key=lambda archive: archive.name
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read .No such file"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "no archive in it; expected a CSV of name, bytes, md5"),
        (b"name,bytes,md5\n", "no archive in it"),
        (b"name,md5\n-6_dB_fan.zip,0\n", "line 2: bytes is ''"),
        (b"name,bytes,md5\n-6_dB_fan.zip,0," + b"0" * 32, "line 2: bytes is '0'"),
        (b"name,bytes,md5\n\n-6_dB_fan.zip," + b"9" * 5000 + b"," + b"0" * 32, "line 3: bytes is '9999"),
        (b"name,bytes,md5\n-6_dB_fan.zip,many," + b"0" * 32, "line 2: bytes is 'many'"),
        (b"name,bytes,md5\n-6_dB_fan.zip,1," + b"0" * 31, "line 2: md5 is '0000"),
        (b"name,bytes,md5\n../-6_dB_fan.zip,1," + b"0" * 32, "line 2: name is '../-6_dB_fan.zip'"),
        (b"name,bytes,md5\n" + 2 * (b"-6_dB_fan.zip,1," + b"0" * 32 + b"\n"), "line 3: -6_dB_fan.zip a second time"),
    ],
)
def test_a_bad_registry_is_named(text, sentence, tmp_path):
    file = tmp_path / "some.csv"
    if text is not None:
        file.write_bytes(text)
    with pytest.raises(MimiiError, match=re.escape(str(file)) + ".*" + sentence):
        download.read_registry(file)


def test_an_archive_that_is_not_registered(get):
    with pytest.raises(MimiiError, match="no archive 6_dB_fan.zip; expected one of -6_dB_fan.zip, -6_dB_pump.zip"):
        get("http://nowhere.invalid", snr=6)
    with pytest.raises(MimiiError, match="MIMII: no archive -6_dB_toaster.zip; expected one of -6_dB_fan"):
        get("http://nowhere.invalid", machines=["toaster"], registry=None)


@pytest.mark.parametrize("channel", [-1, 8])
def test_a_channel_that_mimii_lacks(channel, get):
    with pytest.raises(MimiiError, match=f"channel: found {channel}, expected a whole number from 0 to 7"):
        get("http://nowhere.invalid", channel=channel)


# The transfer


def test_a_download(get, tmp_path, expected):
    """Two machine types, one after the other: the clips are there, the archives are not."""
    with BadServer(FILES) as server:
        lines = get(server, machines=["fan", "pump", "fan"])
        assert server.requests == [Request(name, 0) for name in FILES]
    found = kept(tmp_path / "data")
    assert {name: content for name, content in found.items() if name.startswith("-6_dB_fan/")} == expected
    assert len(found) == 2 * len(CLIPS)
    assert lines == ["-6_dB_fan: unpacked, channel 0", "-6_dB_pump: unpacked, channel 0"]
    assert [*dataset.trees(tmp_path / "data")] == [(-6, "fan"), (-6, "pump")]


def test_the_default_is_zenodo(tmp_path, monkeypatch):
    asked = []

    def refuse(url, **_):
        asked.append(url)
        raise download.requests.ConnectionError

    monkeypatch.setattr(download.requests, "get", refuse)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(0, 0, 10**12))
    with pytest.raises(MimiiError, match="given up"):
        download.fetch(tmp_path / "data", snr=-6, machines=["fan"], report=asked.append)
    assert asked[0] == "https://zenodo.org/records/3384388/files/-6_dB_fan.zip?download=1"


def test_archives_can_be_kept(get, tmp_path, expected):
    with BadServer(FILES) as server:
        get(server, keep_archives=True)
        assert kept(tmp_path / "data") == expected | {f"archives/{NAME}": ARCHIVE}
        shutil.rmtree(tmp_path / "data" / "-6_dB_fan")
        get(server)
        assert len(server.requests) == 1, "the archive that was kept is used"
    assert kept(tmp_path / "data") == expected


def test_only_the_rest_is_asked_for(get, part, tmp_path, expected):
    part.write_bytes(ARCHIVE[:100_000])
    with BadServer(FILES) as server:
        get(server)
        assert server.requests == [Request(NAME, 100_000)]
    assert kept(tmp_path / "data") == expected


def test_a_whole_part_needs_no_server(get, part, tmp_path, expected):
    part.write_bytes(ARCHIVE)
    get("http://nowhere.invalid")
    assert kept(tmp_path / "data") == expected


@pytest.mark.parametrize(
    ("faults", "starts"),
    [
        ([Fault(cut=98_304), Fault(cut=49_152)], [0, 98_304, 147_456]),
        ([Fault(cut=0)], [0, 0]),
        ([Fault(cut=81_920, stall=5)], [0, 81_920]),
        ([Fault(status=500), Fault(status=503), Fault(status=429)], [0, 0, 0, 0]),
        ([Fault(cut=98_304), Fault(ignore_range=True, cut=49_152)], [0, 98_304, 49_152]),
        ([Fault(cut=98_304), Fault(ignore_range=True)], [0, 98_304]),
        ([Fault(cut=98_304), Fault(shift=98_304)], [0, 98_304]),
    ],
    ids=["cut", "cut at once", "stall", "busy", "ignores ranges and cuts", "ignores ranges", "begins anew"],
)
def test_a_transfer_goes_on(faults, starts, get, tmp_path, expected):
    """Whatever breaks it off, the next attempt asks for what is missing, and the tree is the same."""
    with BadServer(FILES, faults) as server:
        lines = get(server)
        assert server.requests == [Request(NAME, start) for start in starts]
    assert kept(tmp_path / "data") == expected
    assert len(lines) == len(starts)


def test_waits_grow_until_something_arrives(get, waited):
    busy, some = Fault(status=503), Fault(cut=20_000)
    with BadServer(FILES, [busy, busy, some, busy]) as server:
        get(server)
    assert waited == [*download.WAITS[:2], download.WAITS[0], download.WAITS[1]]
    assert all(first < second for first, second in pairwise(download.WAITS))


@pytest.mark.parametrize(
    ("asked", "wait"), [("7", 7), ("0", 1), ("100000", 300), ("Fri, 31 Dec 1999 23:59:59 GMT", 1), ("-5", 1)]
)
def test_a_server_may_ask_to_wait(asked, wait, get, waited):
    with BadServer(FILES, [Fault(status=429, retry_after=asked)]) as server:
        lines = get(server)
    assert waited == [wait]
    assert lines[0] == f"{NAME}: the server answered 429 Too Many Requests; next attempt in {wait} s"


@pytest.mark.parametrize(
    ("fault", "reason", "have"),
    [
        (Fault(status=503), "answered 503 Service Unavailable", 0),
        (Fault(cut=0), "broke off", 0),
        (Fault(ignore_range=True, cut=49_152), "broke off", 49_152),
    ],
    ids=["busy", "cut", "never gets further"],
)
def test_a_transfer_that_gets_nowhere_ends(fault, reason, have, get, part, waited, tmp_path, expected):
    """It is given up, what has arrived is kept, and the same command goes on from there."""
    with BadServer(FILES, otherwise=fault) as server:
        with pytest.raises(MimiiError, match=f"{NAME}: given up after .*{reason}.* {have} of {len(ARCHIVE)} bytes are"):
            get(server)
        assert waited[-len(download.WAITS) :] == [*download.WAITS]
        assert len(server.requests) <= len(download.WAITS) + 2
        assert not have or part.read_bytes() == ARCHIVE[:have]
        server.otherwise = Fault()
        get(server)
        assert server.requests[-1] == Request(NAME, have)
    assert kept(tmp_path / "data") == expected


def test_a_transfer_that_creeps_ends_well(get, waited, tmp_path, expected):
    """As long as something arrives, there is no end to the attempts."""
    faults = [Fault(cut=len(ARCHIVE) // 30)] * 29
    with BadServer(FILES, faults) as server:
        get(server)
        assert len(server.requests) > 3 * len(download.WAITS)
    assert set(waited) == {download.WAITS[0]}
    assert kept(tmp_path / "data") == expected


def test_a_server_that_is_silent_or_not_there(get, monkeypatch):
    monkeypatch.setattr(download, "WAITS", (0.0,))
    with (
        BadServer(FILES, otherwise=Fault(cut=0, stall=9)) as server,
        pytest.raises(MimiiError, match="given up after 2 .*silent"),
    ):
        get(server)
    with pytest.raises(MimiiError, match=f"given up after 2 .*{server.url}/{NAME} was not reached"):
        get(server)


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_an_answer_that_will_not_change_ends_at_once(status, get, part, waited):
    part.write_bytes(ARCHIVE[:1000])
    with BadServer(FILES, otherwise=Fault(status=status)) as server:
        with pytest.raises(MimiiError, match=f"{NAME}: {server.url}/{NAME} answered {status}"):
            get(server)
        assert len(server.requests) == 1
    assert not waited
    assert part.read_bytes() == ARCHIVE[:1000]


@pytest.mark.parametrize("mirror", ["http://", "http://[::1", "https://bad host/{x}"])
def test_an_address_that_is_none(mirror, get):
    with pytest.raises(MimiiError, match="not an address"):
        get(mirror)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(size=len(ARCHIVE) - 1),
        Fault(size=len(ARCHIVE) + 1),
        Fault(size=500),
        Fault(no_size=True),
        Fault(ignore_range=True, size=1),
        Fault(ignore_range=True, no_size=True),
        Fault(shift=1),
    ],
    ids=["smaller", "larger", "smaller than the part", "unknown", "another file", "unknown whole", "another range"],
)
def test_another_size_ends_at_once(fault, get, part):
    """Before a byte is written: neither what is there already nor the disk is touched."""
    part.write_bytes(ARCHIVE[:1000])
    with BadServer(FILES, otherwise=fault) as server:
        with pytest.raises(MimiiError, match=f"{NAME}: .*{server.url}.*(expected {len(ARCHIVE)}|gave others)"):
            get(server)
        assert server.requests == [Request(NAME, 1000)]
    assert part.read_bytes() == ARCHIVE[:1000]


def test_more_than_registered_is_not_kept(get, small_files, tmp_path):
    """Nor written: a server that does not end does not fill the disk."""
    small_files(len(ARCHIVE))
    with BadServer(FILES, otherwise=Fault(more=bytes(10**6))) as server:
        with pytest.raises(MimiiError, match=f"gave more than the {len(ARCHIVE)} bytes expected"):
            get(server)
        assert len(server.requests) == 1
    assert kept(tmp_path / "data") == {}


def test_a_part_that_is_too_long_is_not_used(get, part, tmp_path, expected):
    part.write_bytes(ARCHIVE + b"x")
    with BadServer(FILES) as server:
        get(server)
        assert server.requests == [Request(NAME, 0)]
    assert kept(tmp_path / "data") == expected


def test_other_bytes_are_not_kept(get, tmp_path):
    """Fetched in one go and still another md5: a second time would bring the same."""
    md5 = hashlib.md5(ARCHIVE).hexdigest()
    wrong = bytes([ARCHIVE[0] ^ 1]) + ARCHIVE[1:]
    with BadServer(FILES, otherwise=Fault(wrong=True)) as server:
        with pytest.raises(MimiiError, match=f"gave md5 {hashlib.md5(wrong).hexdigest()}, expected {md5}"):
            get(server)
        assert len(server.requests) == 1
    assert kept(tmp_path / "data") == {}


@pytest.mark.parametrize("size", [1000, len(ARCHIVE)])
def test_a_part_of_something_else_is_fetched_anew(size, get, part, tmp_path, expected):
    part.write_bytes(bytes(size))
    with BadServer(FILES) as server:
        lines = get(server)
        assert server.requests == [Request(NAME, 1000), Request(NAME, 0)][size > 1000 :]
    assert "put together from several attempts" in lines[0]
    assert kept(tmp_path / "data") == expected


def test_what_was_joined_wrongly_is_fetched_anew(get, tmp_path, expected):
    """Pieces of one session may not fit together either."""
    with BadServer(FILES, [Fault(cut=8192, wrong=True)]) as server:
        get(server)
        assert [request.start for request in server.requests] == [0, 8192, 0]
    assert kept(tmp_path / "data") == expected


def test_a_part_that_was_begun_anew_is_not_joined(get, part):
    """Its wrong bytes are the server's own, and would come a second time."""
    part.write_bytes(ARCHIVE[:1000])
    with BadServer(FILES, [Fault(ignore_range=True, wrong=True)]) as server:
        with pytest.raises(MimiiError, match="gave md5"):
            get(server)
        assert len(server.requests) == 1


def test_a_second_wrong_md5_is_the_last(get, part, tmp_path):
    part.write_bytes(bytes(1000))
    cut = [Fault(), Fault(wrong=True, cut=8192)]  # joined, then joined once more
    with BadServer(FILES, cut) as server:
        with pytest.raises(MimiiError, match="gave md5"):
            get(server)
        assert [request.start for request in server.requests] == [1000, 0, 8192]
    assert kept(tmp_path / "data") == {}


def test_another_archive_of_that_name_is_replaced(get, part, tmp_path, expected):
    (part.parent / NAME).write_bytes(b"something else")
    with BadServer(FILES) as server:
        get(server)
    assert kept(tmp_path / "data") == expected


def test_a_file_system_without_links(get, monkeypatch, tmp_path, expected):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with BadServer(FILES) as server:
        get(server)
    assert kept(tmp_path / "data") == expected


# The disk

Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def room(monkeypatch):
    """Return a function that sets how many bytes are free."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(0, 0, free))


@pytest.mark.parametrize(("channel", "size"), [(0, 320_044), (None, 2_560_080)])
@pytest.mark.parametrize("keep", [False, True])
def test_room_is_looked_at_first(channel, size, keep, get, room):
    """One archive at a time and all clips must fit, or all archives where they are kept."""
    archives = [download.read_registry()[name].bytes for name in FILES]
    clips = sum(i.normal + i.abnormal for name in ("fan", "pump") for i in paper.MIMII[name].values()) * size
    needed = (sum(archives) if keep else max(archives)) + clips
    how = {"machines": ["fan", "pump"], "channel": channel, "keep_archives": keep, "registry": None}
    with BadServer({}) as server:
        room(needed - 1)
        with pytest.raises(
            MimiiError, match=f"{needed / 1e9:.1f} [GM]B needed for -6_dB_fan, -6_dB_pump, .* GB free; ma"
        ):
            get(server, **how)
        assert not server.requests
        room(needed)
        with pytest.raises(MimiiError, match="404"):
            get(server, **how)


def test_what_is_there_needs_no_room(get, part, room, folder):
    """The part that has arrived and an archive in a mirror folder take nothing more."""
    part.write_bytes(ARCHIVE[:-1])
    clips = 2 * len(ARCHIVE) // 8
    with BadServer({}) as server:
        room(1 + clips - 1)
        with pytest.raises(MimiiError, match="[GM]B needed"):
            get(server)
        room(1 + clips)
        with pytest.raises(MimiiError, match="404"):
            get(server)
    part.unlink()
    for free, asked in ((clips - 1, "for -6_dB_fan,"), (clips, "for the clips of")):
        room(free)
        with pytest.raises(MimiiError, match=f"[GM]B needed {asked}"):
            get(folder())


def test_the_estimate_for_other_archives_is_enough(tmp_path, expected):
    """It is the room for all clips but those that are unpacked already."""
    archive = download.Archive(NAME, len(ARCHIVE), "0" * 32)
    for channel, channels in ((0, 1), (None, 8)):
        place = download._Place(tmp_path, archive, channel)
        needed = place.to_keep()
        assert needed >= channels * sum(map(len, expected.values()))
        (place.clips / CLIPS[0]).parent.mkdir(parents=True)
        (place.clips / CLIPS[0]).write_bytes(bytes(999))
        assert place.to_keep() == needed - 999


def test_room_is_looked_at_before_unpacking(get, folder, room, tmp_path):
    """An archive that unpacks to far more than it is large does not begin to."""
    files = {NAME: packed([(path, clip(n, channels=1, samples=9) + bytes(10**6)) for n, path in enumerate(CLIPS)])}
    room(8 * 10**6)
    with pytest.raises(MimiiError, match="[GM]B needed for the clips of -6_dB_fan.zip"):
        get(folder(files), files=files, channel=None)
    assert kept(tmp_path / "data") == {}


@pytest.fixture
def small_files():
    """Let no file grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_fills_during_the_transfer(get, part, small_files, tmp_path, expected):
    """What has arrived is kept, whole up to where it ends, and the same command goes on."""
    with BadServer(FILES) as server:
        small_files(100_000)
        with pytest.raises(MimiiError, match="cannot be used .File too large.*has room.*goes on where it stopped"):
            get(server)
        small_files(resource.RLIM_INFINITY)
        have = part.stat().st_size
        assert 0 < have <= 100_000
        assert part.read_bytes() == ARCHIVE[:have]
        get(server)
        assert server.requests == [Request(NAME, 0), Request(NAME, have)]
    assert kept(tmp_path / "data") == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named(get, part):
    part.symlink_to("/dev/full")
    with BadServer(FILES) as server, pytest.raises(MimiiError, match="No space left on device"):
        get(server)


def test_a_disk_that_fills_during_unpacking(get, folder, small_files, tmp_path, expected):
    mirror = folder()
    small_files(1000)
    with pytest.raises(MimiiError, match="cannot be written .File too large"):
        get(mirror)
    small_files(resource.RLIM_INFINITY)
    assert kept(tmp_path / "data") == {}
    get(mirror)
    assert kept(tmp_path / "data") == expected


def test_a_destination_that_is_no_folder(get, tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    for dest in (file, file / "below"):
        with pytest.raises(MimiiError, match=f"{file}.*cannot be used"):
            get("http://nowhere.invalid", dest=dest)
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_destination_that_cannot_be_written_to(get, tmp_path):
    dest = tmp_path / "closed"
    dest.mkdir(mode=0o500)
    with pytest.raises(MimiiError, match=f"{dest}.*cannot be used .Permission denied"):
        get("http://nowhere.invalid", dest=dest)


# A mirror folder


def test_a_mirror_folder_is_only_read(get, folder, tmp_path, expected, monkeypatch):
    """Its archives stay as they are, and none is copied, even where the mirror is the folder of kept archives."""
    mirror = folder()
    before = {path: path.stat() for path in mirror.iterdir()}
    monkeypatch.setattr(shutil, "copyfileobj", None)
    get(mirror)
    assert kept(tmp_path / "data") == expected
    assert {path.name: path.read_bytes() for path in mirror.iterdir()} == FILES
    assert all(path.stat().st_mtime_ns == was.st_mtime_ns for path, was in before.items())
    assert not (tmp_path / "data" / "archives").exists()

    mirror.rename(tmp_path / "data" / "archives")
    shutil.rmtree(tmp_path / "data" / "-6_dB_fan")
    get(tmp_path / "data" / "archives")
    assert kept(tmp_path / "data") == expected | {f"archives/{name}": content for name, content in FILES.items()}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no such archive; put it there"),
        (ARCHIVE[:-1], f"has {len(ARCHIVE) - 1} bytes, expected {len(ARCHIVE)}"),
        (ARCHIVE[:-1] + b"x", f"has md5 .*, expected {hashlib.md5(ARCHIVE).hexdigest()}"),
    ],
    ids=["missing", "short", "other bytes"],
)
def test_a_wrong_archive_in_a_mirror_folder(content, sentence, get, folder, tmp_path):
    mirror = folder({} if content is None else {NAME: content})
    with pytest.raises(MimiiError, match=f"{mirror / NAME}: {sentence}"):
        get(mirror)
    assert tree(mirror) == ({} if content is None else {NAME: content})
    assert kept(tmp_path / "data") == {}


@pytest.mark.parametrize("mirror", ["nowhere", "ftp://somewhere/mimii", ""])
def test_a_mirror_that_is_not_there(mirror, get, tmp_path):
    mirror = mirror and f"{tmp_path}/{mirror}"
    with pytest.raises(MimiiError, match=f"mirror: {mirror}: no such folder; expected a folder of archives or an htt"):
        get(mirror)


# What is in an archive


def test_one_channel_is_that_of_the_file(get, folder, tmp_path):
    """Every channel, bit by bit, and all of them together as the file that was packed."""
    entries = {path: clip(n) for n, path in enumerate(CLIPS)}
    for channel in (0, 3, 7, None):
        dest = tmp_path / str(channel)
        get(folder(), channel=channel, dest=dest)
        for path, content in entries.items():
            whole = soundfile.read(io.BytesIO(content), dtype="int16")
            found = dest / "-6_dB_fan" / path
            if channel is None:
                assert found.read_bytes() == content
                continue
            sound, rate = soundfile.read(found, dtype="int16")
            assert rate == whole[1]
            assert np.array_equal(sound, whole[0][:, channel])
            assert soundfile.info(found).subtype == "PCM_16"
            assert soundfile.info(found).channels == 1


def test_real_recordings(get, folder, real, tmp_path):
    """A real file of 8 channels gives the clip that the pipeline would have read from it; one of one channel stays."""
    paths = sorted((real / "0_dB_fan").rglob("*.wav"))
    channels = Counter(soundfile.info(path).channels for path in paths)
    assert channels[8] and channels[1]
    entries = [(path.relative_to(real / "0_dB_fan").as_posix(), path.read_bytes()) for path in paths]
    files = {"0_dB_fan.zip": packed(entries)}
    get(folder(files), snr=0, files=files)
    for path in paths:
        found = tmp_path / "data" / path.relative_to(real)
        assert found.stat().st_size == unpacking.ONE_CHANNEL
        assert np.array_equal(dataset.read(found), dataset.read(path))
        if soundfile.info(path).channels == 1:
            assert found.read_bytes() == path.read_bytes()
    assert max(path.stat().st_size for path in paths) == unpacking.ALL_CHANNELS


def test_what_cannot_be_cut_is_kept_as_it_is(get, folder, tmp_path):
    """``mimii check`` names it; nothing is lost by unpacking."""
    odd = [clip(0)[:50], b"", b"no sound", clip(1, channels=1), clip(2, format="WAV", subtype="PCM_24")]
    files = {NAME: packed(list(zip(CLIPS, odd, strict=False)))}
    get(folder(files), files=files)
    assert kept(tmp_path / "data") == {f"-6_dB_fan/{name}": content for name, content in zip(CLIPS, odd, strict=False)}


def test_a_channel_that_a_file_lacks(get, folder, tmp_path):
    files = {NAME: packed([(CLIPS[0], clip(0, channels=2))])}
    with pytest.raises(MimiiError, match=f"{NAME}: {CLIPS[0]}: has 2 channels, so no channel 5"):
        get(folder(files), files=files, channel=5)
    assert kept(tmp_path / "data") == {}


def test_only_clips_are_unpacked(get, folder, tmp_path, expected):
    """An outer folder is dropped; what else people pack along stays out, and its number is told."""
    other = ["readme.txt", "fan/id_00/notes.wav", "pump/id_00/normal/00000000.wav", "fan/id_00/normal/a/b.wav"]
    mac = ["__MACOSX/fan/id_00/normal/._00000000.wav", "fan/id_00/normal/._00000000.wav", "fan/id_00/.DS_Store"]
    entries = [(name, b"x") for name in other + mac] + [("-6_dB_fan/", b""), ("-6_dB_fan/fan/", b"")]
    entries += [(f"-6_dB_fan/{path}", clip(n)) for n, path in enumerate(CLIPS)]
    files = {NAME: packed(entries)}
    lines = get(folder(files), files=files)
    assert kept(tmp_path / "data") == expected
    assert lines == ["-6_dB_fan: unpacked, channel 0; 7 other files left out"]


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def forged(old, new):
    """Return the archive with some bytes of each header replaced by as many others."""
    assert old in ARCHIVE and len(old) == len(new)
    return ARCHIVE.replace(old, new)


def encrypted():
    """Return the archive with the first entry's flag for encryption set, in both of its headers."""
    made = bytearray(ARCHIVE)
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        made[made.index(signature) + offset] |= 1
    return bytes(made)


BAD = [
    ([("../outside.wav", b"x")], "'../outside.wav' would lie outside"),
    ([("fan/id_00/normal/../../../../outside.wav", b"x")], "would lie outside"),
    ([("fan/..", b"x")], "would lie outside"),
    ([("/outside.wav", b"x")], "'/outside.wav' would lie outside"),
    ([("C:/outside.wav", b"x")], "'C:/outside.wav' would lie outside"),
    ([("c:outside.wav", b"x")], "would lie outside"),
    ([("fan\\id_00\\normal\\0.wav", b"x")], "would lie outside"),
    ([("\\\\host\\share\\0.wav", b"x")], "would lie outside"),
    ([(link("fan/id_00/normal/9.wav"), b"/etc/passwd")], "is a link"),
    ([(link("fan/id_04"), b"/tmp")], "is a link"),
    ([(CLIPS[0], b"x")], "is there twice"),
    ([(f"-6_dB_fan/{CLIPS[0]}", b"x")], "is there twice"),
    ([(CLIPS[0].replace("wav", "WAV"), b"x")], "is there twice"),
    ([("fan/id_00/normal/9.wav", bytes(11_000_000))], "has 11000000 bytes, more than a clip of 8 channels"),
]


@pytest.mark.parametrize(("entries", "sentence"), BAD)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_no_recordings_have_is_refused(entries, sentence, get, folder, tmp_path):
    """As a whole, and before anything of it is written."""
    files = {NAME: packed([(path, clip(n)) for n, path in enumerate(CLIPS)] + entries)}
    mirror = folder(files)
    before = tree(tmp_path) | {"registry.csv": b""}
    with pytest.raises(MimiiError, match=f"{NAME}: entry .*{sentence}.*nothing of it is unpacked"):
        get(mirror, files=files)
    after = tree(tmp_path) | {"registry.csv": b""}
    assert after == before | {"data/.download.lock": b""}
    assert not Path("/outside.wav").exists()
    assert [*(tmp_path / "data").glob(".*.part")] == []


def test_an_encrypted_archive_is_refused(get, folder, tmp_path):
    files = {NAME: encrypted()}
    with pytest.raises(MimiiError, match=f"entry '{CLIPS[0]}' is encrypted"):
        get(folder(files), files=files)
    assert kept(tmp_path / "data") == {}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (packed([("readme.txt", b"x")]), "holds no clip; expected entries like fan/id_00/normal/00000000.wav"),
        (packed([]), "holds no clip"),
        (b"PK", "broken"),
        (ARCHIVE[:-30], "broken"),
        (ARCHIVE[: len(ARCHIVE) // 2], "broken"),
        (b"PK\5\6" + bytes(18) + ARCHIVE[:50], "broken|holds no clip"),
    ],
    ids=["no clip", "empty", "two bytes", "without its end", "half", "an end alone"],
)
def test_an_archive_without_clips(content, sentence, get, folder):
    with pytest.raises(MimiiError, match=sentence):
        get(folder({NAME: content}), files={NAME: content})


def test_a_size_that_lies_is_not_believed(get, folder, tmp_path):
    """An entry that says it is small ends there, and its checksum gives it away."""
    directory = ARCHIVE.index(b"PK\1\2") + 24
    local = ARCHIVE.index(b"PK\3\4") + 22
    made = bytearray(ARCHIVE)
    for offset in (directory, local):
        made[offset : offset + 4] = (1000).to_bytes(4, "little")
    files = {NAME: bytes(made)}
    with pytest.raises(MimiiError, match="broken, though its md5 is the registered one .Bad CRC-32"):
        get(folder(files), files=files)
    assert kept(tmp_path / "data") == {}


def test_a_broken_archive_is_an_error_of_one_kind(get, folder, tmp_path):
    """Whichever byte is another: it is unpacked, or refused in a sentence; nothing lands elsewhere."""
    random = np.random.default_rng(0)
    whole = packed([(path, clip(n, samples=40)) for n, path in enumerate(CLIPS)])
    outcomes = Counter()
    for n in range(250):
        made = bytearray(whole)
        for offset in random.integers(len(made), size=1 + n % 3):
            made[offset] = random.integers(256)
        files = {NAME: bytes(made)}
        try:
            get(folder(files), files=files, dest=tmp_path / "fuzz" / "data")
            outcomes["unpacked"] += 1
        except MimiiError as error:
            outcomes["refused"] += 1
            assert "\n" not in str(error)
        assert {path.name for path in (tmp_path / "fuzz").iterdir()} == {"data"}
        shutil.rmtree(tmp_path / "fuzz")
    assert outcomes["refused"] > 50


# Interruptions, and others at work


def test_what_is_there_is_left_alone(get, tmp_path):
    mine = tmp_path / "data" / "-6_dB_fan" / "fan" / "id_00" / "normal" / "mine.wav"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    assert get("http://nowhere.invalid") == ["-6_dB_fan: is there already"]
    assert kept(tmp_path / "data") == {"-6_dB_fan/fan/id_00/normal/mine.wav": b"mine"}
    assert not (tmp_path / "data" / ".download.lock").exists(), "something was written beside it"


def test_a_plain_unzip_is_used(get, tmp_path):
    """Recordings without the folder that tells their SNR are there, too."""
    wav = tmp_path / "data" / "fan" / "id_00" / "normal" / "00000000.wav"
    wav.parent.mkdir(parents=True)
    wav.write_bytes(b"mine")
    assert get("http://nowhere.invalid") == ["-6_dB_fan: is there already"]


def test_a_folder_without_recordings_is_not_taken_for_them(get, tmp_path, expected):
    """A folder of that name that holds other things is an error; an empty one is filled."""
    final = tmp_path / "data" / "-6_dB_fan"
    final.mkdir(parents=True)
    (final / "notes.txt").write_text("mine")
    with pytest.raises(MimiiError, match="holds no recordings; take it away"):
        get("http://nowhere.invalid")
    (final / "notes.txt").unlink()
    with BadServer(FILES) as server:
        get(server)
    assert kept(tmp_path / "data") == expected


def test_one_channel_is_not_taken_for_all(get, tmp_path, wav):
    """Who asks for all channels is told where only one is there."""
    wav(tmp_path / "data" / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav", samples=16_000)
    with pytest.raises(MimiiError, match="one channel, all were asked for"):
        get("http://nowhere.invalid", channel=None)


def test_a_part_of_mimii_is_told_as_such(tmp_path, wav):
    """Where clips of MIMII's own archive are missing, their number is told."""
    wav(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav", samples=16_000)
    lines = []
    download.fetch(tmp_path, snr=-6, machines=["fan"], mirror="http://nowhere.invalid", report=lines.append)
    assert lines == ["-6_dB_fan: is there already, 1 of its 5,550 clips; to fetch it again, take the folder away first"]


@pytest.mark.parametrize("k", range(len(CLIPS)))
def test_an_interruption_at_any_clip(k, get, tmp_path, expected, monkeypatch):
    """What was unpacked is not unpacked again, nothing is fetched again, and the tree is the same."""
    atomic_write, written = unpacking.atomic_write, []

    def interrupted(path):
        if len(written) == k:
            raise KeyboardInterrupt
        written.append(path)
        return atomic_write(path)

    with BadServer(FILES) as server:
        monkeypatch.setattr(unpacking, "atomic_write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            get(server)
        monkeypatch.setattr(unpacking, "atomic_write", lambda path: written.append(path) or atomic_write(path))
        assert not (tmp_path / "data" / "-6_dB_fan").exists()
        get(server)
        assert server.requests == [Request(NAME, 0)]
    assert len(written) == len(set(written)) == len(CLIPS)
    assert kept(tmp_path / "data") == expected


def test_channels_do_not_blend(get, tmp_path, expected, monkeypatch):
    """An unpacking of another channel that was interrupted leaves nothing behind."""
    atomic_write, written = unpacking.atomic_write, []
    monkeypatch.setattr(unpacking, "atomic_write", lambda path: written.append(path) or atomic_write(path))
    for channel in (1, None):
        monkeypatch.setattr(unpacking, "_one_channel", lambda content, *_: 1 / (len(written) < 3) and content)
        if channel is None:
            monkeypatch.setattr(unpacking, "atomic_write", lambda path: 1 / 0)
        with BadServer(FILES) as server, pytest.raises(ZeroDivisionError):
            get(server, channel=channel)
    monkeypatch.undo()
    assert len([*(tmp_path / "data").glob(".-6_dB_fan.*.part")]) == 1
    with BadServer(FILES) as server:
        get(server)
    assert kept(tmp_path / "data") == expected


CHILD = """
import itertools, os, signal, sys
from pathlib import Path
from mimii_lib.data import download

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, content):
    with path.open("wb") as file:
        file.write(content[:9])
    die()

def later(calls, real, last):
    return lambda *said: last(*said) if next(calls) == 3 else real(*said)

{killed}
download.fetch(Path(sys.argv[1]), snr=-6, machines=["fan"], mirror=sys.argv[2], registry=Path(sys.argv[3]))
"""
KILLED = {
    "transfer": "download.tqdm.update = later(itertools.count(1), download.tqdm.update, die)",
    "check": "download.pooch.core.hash_matches = die",
    "kept": "download.pooch.core.shutil.move = die",
    "clip": "Path.write_bytes = later(itertools.count(), Path.write_bytes, half)",
    "folder": "Path.rename = die",
    "tidy": "download._Place.tidy = die",
}


@pytest.mark.parametrize("point", KILLED)
def test_a_kill_at_any_point(point, tmp_path, registry, get, expected):
    """Of a process that is killed outright nothing is lost but the clip, or the piece, in the making."""
    with BadServer(FILES) as server:
        command = [sys.executable, "-c", CHILD.format(killed=KILLED[point])]
        command += [str(tmp_path / "data"), server.url, str(registry())]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (tmp_path / "data" / "-6_dB_fan").exists() == (point == "tidy")
        lines = get(server)
        starts = [request.start for request in server.requests]
        assert starts[0] == 0
        assert len(starts) == 1 + (point == "transfer")
        assert 0 < starts[-1] < len(ARCHIVE) or point != "transfer"
    assert lines == ["-6_dB_fan: " + ("is there already" if point == "tidy" else "unpacked, channel 0")]
    assert kept(tmp_path / "data") == expected


def test_a_second_download_waits(get, tmp_path, wav):
    """It says so, and then finds the work done."""
    lines = []
    (tmp_path / "data").mkdir()
    with BadServer(FILES) as server:
        with FileLock(tmp_path / "data" / ".download.lock"):
            second = threading.Thread(target=get, args=[server], kwargs={"report": lines.append})
            second.start()
            until = time.monotonic() + 20
            while not lines and time.monotonic() < until:
                threading.Event().wait(0.01)
            wav(tmp_path / "data" / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav", samples=16_000)
        second.join(20)
        assert not server.requests
    assert lines == [
        f"{tmp_path / 'data'}: another download is at work here; waiting until it is done",
        "-6_dB_fan: is there already",
    ]


def test_two_downloads_at_once(get, registry, tmp_path, expected):
    """Between them each archive is fetched once."""
    file = registry()
    with BadServer(FILES, otherwise=Fault(pause=0.01)) as server:
        with ThreadPoolExecutor(3) as downloads:
            asked = (["fan", "pump"], ["pump", "fan"], ["fan"])
            list(downloads.map(lambda machines: get(server, machines=machines, registry=file), asked))
        assert sorted(server.requests, key=lambda request: request.name) == [Request(name, 0) for name in FILES]
    found = kept(tmp_path / "data")
    assert len(found) == 2 * len(CLIPS)
    assert found.items() >= expected.items()


def test_archives_that_others_need_stay(get, part, tmp_path):
    """A part of another archive is not of this download."""
    other = part.with_name("-6_dB_valve.zip.part")
    other.write_bytes(b"some")
    (part.parent / "tmpabcd_012").write_bytes(b"of a process that was killed")
    with BadServer(FILES) as server:
        get(server)
    assert {name for name in kept(tmp_path / "data") if name.startswith("archives/")} == {f"archives/{other.name}"}
