"""Downloads: what arrives is what was registered, whatever the server, the disk or the archive does."""

import hashlib
import io
import itertools
import re
import resource
import shutil
import stat
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import requests
import soundfile
from archives import ARCHIVE, CLIPS, ENTRIES, EXPECTED, FILES, NAME, channel_of, clip, kept, packed, register
from bad_server import BadServer, Fault
from kills import killed

from mimii_lib import dataset, paper
from mimii_lib.data import download, remote
from mimii_lib.errors import MimiiError

NOWHERE = "http://nowhere.invalid"
pytestmark = pytest.mark.usefixtures("waits")


@pytest.fixture
def folder(tmp_path):
    """Return a function that puts archives into a mirror folder and returns it."""
    (tmp_path / "mirror").mkdir()

    def put(files=FILES):
        for name, content in files.items():
            (tmp_path / "mirror" / name).write_bytes(content)
        return tmp_path / "mirror"

    return put


@pytest.fixture
def part(tmp_path):
    """Return where the part of the fan's archive lies, in a folder that exists."""
    file = tmp_path / "data" / "archives" / f"{NAME}.part"
    file.parent.mkdir(parents=True)
    return file


@pytest.fixture
def room(monkeypatch):
    """Return a function that sets how many bytes of the disk are free."""
    return lambda free: monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))


@pytest.fixture
def largest_file():
    """Return a function that limits the size of files, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_mimii_registers_every_snr_and_machine():
    """Every archive is registered once in either source, and all of its clips fit into the room that is checked."""
    archives = download.read_registry()
    names = {f"{snr}_dB_{name}.zip": (snr, name, 8) for snr in paper.SNRS for name in paper.MACHINES}
    names |= {f"dev_data_{name}.zip": (-6, name, 1) for name in paper.MACHINES}
    assert {name: (archive.snr, archive.machine, archive.channels) for name, archive in archives.items()} == names
    assert len({archive.md5 for archive in archives.values()}) == len(archives)
    for archive in archives.values():
        clips = sum(i.normal + i.abnormal for i in paper.MIMII[archive.machine].values())
        unpacked = clips * (44 + 320_000 * archive.channels)
        assert not archive.bytes or archive.bytes < unpacked < download.EXPANSION * archive.bytes


def test_the_registry_is_the_published_one(shared):
    facts = (shared / "FACTS.md").read_text()
    rows = re.findall(r"^\| (\S+\.zip) \| (?:(\d+)|about .*) \| (\w{32}) \|$", facts, re.MULTILINE)
    archives = download.read_registry()
    assert {name: (name, int(size or 0), md5) for name, size, md5 in rows} == {
        name: archive[:3] for name, archive in archives.items()
    }
    for archive in archives.values():
        record, licence = re.findall(rf"Zenodo record (\d+), (?:licence )?({archive.licence})(?: |$)", facts, re.M)[0]
        assert archive.record.endswith(f"/{record}") and record in archive.citation and licence in facts


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read .No such file"),
        ("\xff", "cannot be read"),
        ("name,bytes,md5\n", "no archive in it; expected a CSV of name, bytes, md5"),
        ("name,md5\n-6_dB_fan.zip,0\n", "line 2: bytes is ''"),
        (f"name,bytes,md5\n\n-6_dB_fan.zip,{'9' * 5000},{'0' * 32}", "line 3: bytes is '9999"),
        (f"name,bytes,md5\n-6_dB_fan.zip,1,{'0' * 31}", "line 2: md5 is '0000"),
        (f"name,bytes,md5\n../-6_dB_fan.zip,1,{'0' * 32}", "line 2: name is '../-6_dB_fan.zip'"),
        ("name,bytes,md5\n" + 2 * f"-6_dB_fan.zip,1,{'0' * 32}\n", "line 3: -6_dB_fan.zip a second time"),
    ],
)
def test_a_bad_registry_is_named(text, sentence, tmp_path):
    file = tmp_path / "some.csv"
    if text is not None:
        file.write_bytes(text.encode("latin1"))
    with pytest.raises(MimiiError, match=re.escape(str(file)) + ".*" + sentence):
        download.read_registry(file)


@pytest.mark.parametrize(
    ("mirror", "how", "sentence"),
    [
        (NOWHERE, {"snr": 6}, "no archive 6_dB_fan.zip; expected one of -6_dB_fan.zip, -6_dB_pump.zip"),
        (NOWHERE, {"machines": ["toaster"], "registry": None}, "MIMII: no archive -6_dB_toaster.zip; expected one of"),
        (NOWHERE, {"channel": 8}, "channel: found 8, expected a whole number from 0 to 7"),
        *((mirror, {}, "no such folder; expected a folder of archives") for mirror in ("a/b", "ftp://a/b", "")),
        *((mirror, {}, "not an address") for mirror in ("http://", "http://[::1", "https://bad host/{x}")),
        (NOWHERE, {"dest": Path(__file__)}, "cannot be used"),
        (NOWHERE, {"dest": Path(__file__) / "below"}, "cannot be used"),
    ],
)
def test_a_request_that_cannot_be_met(mirror, how, sentence, get):
    with pytest.raises(MimiiError, match=sentence):
        get(mirror, **how)


def test_the_default_is_zenodo(get, monkeypatch):
    monkeypatch.setattr(requests, "get", lambda url, **_: pytest.fail(url))
    with pytest.raises(pytest.fail.Exception, match="https://zenodo.org/records/3384388/files/-6_dB_fan.zip.download"):
        get(None)


def test_archives_can_be_kept(get, part, tmp_path):
    """A kept archive is used by the next download, and removed by it unless it is kept again."""
    part.with_suffix("").write_bytes(b"something else of that name")
    with BadServer(FILES) as server:
        get(server, keep_archives=True)
        assert kept(tmp_path / "data") == EXPECTED | {f"archives/{NAME}": ARCHIVE}
        shutil.rmtree(tmp_path / "data" / "-6_dB_fan")
        get(server)
        assert server.requests == [(NAME, 27), (NAME, 0)]
    assert kept(tmp_path / "data") == EXPECTED


BUSY = Fault(status=503)
TRANSFERS = {  # the part at the beginning, the faults of the responses, and where each request starts
    "part": (ARCHIVE[:100_000], [], [100_000]),
    "whole part": (ARCHIVE, [], []),
    "part too long": (ARCHIVE + b"x", [], [0]),
    "other part": (bytes(1000), [], [1000, 0]),
    "cut": (b"", [Fault(cut=98_304), Fault(cut=49_152)], [0, 98_304, 147_456]),
    "stall": (b"", [Fault(cut=81_920, stall=5)], [0, 81_920]),
    "busy": (b"", [Fault(status=500), BUSY, Fault(status=429)], [0, 0, 0, 0]),
    "ignores ranges and cuts": (b"", [Fault(cut=98_304), Fault(ignore_range=True, cut=49_152)], [0, 98_304, 49_152]),
    "begins anew": (b"", [Fault(cut=98_304), Fault(shift=98_304)], [0, 98_304]),
    "wrong piece": (b"", [Fault(cut=16_384, wrong=True)], [0, 16_384, 0]),
    "wrong whole": (b"", [Fault(wrong=True)], [0, 0]),
}


@pytest.mark.parametrize("case", TRANSFERS)
def test_a_transfer_goes_on(case, get, part, tmp_path):
    """Whatever broke off or was wrong, the next request asks for what is missing, and the clips are the same."""
    begun, faults, starts = TRANSFERS[case]
    part.write_bytes(begun)
    with BadServer(FILES, faults) as server:
        get(server)
        assert server.requests == [(NAME, start) for start in starts]
    assert kept(tmp_path / "data") == EXPECTED


def test_waits_grow_until_something_arrives(get, waits, tmp_path):
    """Waits grow without progress and begin anew with it; a transfer that only creeps is never given up."""
    with BadServer(FILES, [BUSY, BUSY, Fault(cut=20_000), BUSY]) as server:
        get(server)
    assert waits == [*remote.WAITS[:2], remote.WAITS[0], remote.WAITS[1]]
    shutil.rmtree(tmp_path / "data")
    waits.clear()
    with BadServer(FILES, [Fault(cut=len(ARCHIVE) // 15)] * 14) as server:
        get(server)
        assert len(server.requests) > len(remote.WAITS) + 1
    assert set(waits) == {remote.WAITS[0]}
    assert kept(tmp_path / "data") == EXPECTED


def test_a_server_may_ask_to_wait(get, waits):
    """The header Retry-After lengthens a wait up to the longest one; what is no number of seconds is passed over."""
    waits_of = {"7": 7, "0": 2, "100000": 300, "-5": 10, "tomorrow": 30}
    with BadServer(FILES, [Fault(status=429, retry_after=text) for text in waits_of]) as server:
        messages = get(server)
    assert waits == [*waits_of.values()]
    assert messages[0] == f"{NAME}: the server answered 429 Too Many Requests; next attempt in 7 s"


@pytest.mark.parametrize(
    ("fault", "reason", "have"),
    [
        (BUSY, "answered 503 Service Unavailable", 0),
        (Fault(cut=0), "broke off", 0),
        (Fault(cut=0, stall=9), "fell silent", 0),
        (Fault(ignore_range=True, cut=49_152), "broke off", 49_152),
    ],
)
def test_a_transfer_that_gets_nowhere_ends(fault, reason, have, get, part, waits, tmp_path):
    """It is given up, what has arrived is kept, and the same command goes on from there."""
    with BadServer(FILES, otherwise=fault) as server:
        with pytest.raises(MimiiError, match=f"{NAME}: given up after .*{reason}.* {have} of {len(ARCHIVE)} bytes are"):
            get(server)
        assert waits[-len(remote.WAITS) :] == [*remote.WAITS]
        assert not have or part.read_bytes() == ARCHIVE[:have]
        server.otherwise = Fault()
        get(server)
        assert server.requests[-1] == (NAME, have)
    assert kept(tmp_path / "data") == EXPECTED
    with pytest.raises(MimiiError, match=f"given up after 9 .*{server.url}/{NAME} was not reached"):
        get(server, dest=tmp_path / "other")


@pytest.mark.parametrize("clips", [None, 1])
def test_a_server_that_drips_is_given_up(clips, get, waits):
    """A byte now and then is no progress, for whole archives as for single clips."""
    sentence = f"{NAME}: given up after 9 .*TooSlow"
    with BadServer(FILES, otherwise=Fault(drip=0.1)) as server, pytest.raises(MimiiError, match=sentence):
        get(server, clips=clips)


def test_a_redirect_to_no_address_is_a_sentence(get):
    """A server that sends on to what is no address is named."""
    fault = Fault(status=302, headers={"Location": "http://[::1"})
    with BadServer(FILES, otherwise=fault) as server, pytest.raises(MimiiError, match="not an address, or it leads to"):
        get(server)


@pytest.mark.parametrize("fault", [BUSY, Fault(status=404), Fault(wrong=True), Fault(more=bytes(10)), Fault()])
def test_a_password_is_never_shown(fault, get, tmp_path):
    """The address of a mirror that asks for a password is shown, and recorded, without it."""
    with BadServer(FILES, otherwise=fault) as server:
        error, mirror = "", server.url.replace("//", "//somebody:secret@")
        try:
            messages = get(mirror)
        except MimiiError as raised:
            error, messages = str(raised), []
        assert error == "" if fault == Fault() else server.url in error
    record = tmp_path / "data" / dataset.DOWNLOADED
    shown = [error, *messages, record.read_text() if record.is_file() else ""]
    assert not any(word in text for text in shown for word in ("somebody", "secret"))


@pytest.mark.parametrize("clips", [None, 1])
def test_what_bzip2_cannot_unpack_is_a_broken_archive(clips, get, folder):
    """The archive is blamed, and not the folder that the clips would lie in."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr(CLIPS[0], clip(0))
        archive.writestr(CLIPS[2], clip(1))
    broken = bytearray(file.getvalue())
    broken[200:300] = bytes(100)
    with pytest.raises(MimiiError, match=f"{NAME}.*(broken, though|wrong content).*name another mirror"):
        get(folder({NAME: bytes(broken)}), files={NAME: bytes(broken)}, clips=clips)


def test_room_is_checked_for_clips_that_are_kept_as_they_are(get, room, folder):
    """Clips larger than eight channels are written whole, so their whole size has to fit."""
    large = packed([(CLIPS[0], bytes(9_000_000))])
    room(1_000_000)
    for clips in (None, 1):
        with pytest.raises(MimiiError, match="9 MB needed for the clips"):
            get(folder({NAME: large}), files={NAME: large}, clips=clips)


def test_room_is_looked_at_again_where_a_clip_has_one_channel_alone(get, room, folder, tmp_path):
    """A long clip of one channel is as large as a short one of eight; it is kept whole, and so the others may be."""
    long = packed([(path, clip(0, channels=1, samples=350_000, format="WAV")) for path in CLIPS[:3]])
    for free, clips in itertools.product((1_000_000, 2_200_000), (None, 3)):
        room(free)
        how = {"files": {NAME: long}, "clips": clips, "dest": tmp_path / f"{free} {clips}"}
        if free < 2_000_000:
            with pytest.raises(MimiiError, match="3 MB needed for the clips"):
                get(folder({NAME: long}), **how)
        else:
            get(folder({NAME: long}), **how)


SIZES = [Fault(size=size) for size in (len(ARCHIVE) - 1, len(ARCHIVE) + 1, 500)]
OTHER = [*SIZES, Fault(no_size=True), Fault(ignore_range=True, size=1), Fault(ignore_range=True, no_size=True)]
MD5 = hashlib.md5(ARCHIVE).hexdigest()


@pytest.mark.parametrize(
    ("fault", "sentence", "begun"),
    [
        *((Fault(status=status), f"answered {status}", ARCHIVE[:1000]) for status in (400, 403, 404, 410)),
        *((fault, f"expected bytes 1000-{len(ARCHIVE) - 1}/", ARCHIVE[:1000]) for fault in [*OTHER, Fault(shift=1)]),
        (Fault(more=bytes(10**6)), f"gave more than the {len(ARCHIVE)} bytes expected", b""),
        (Fault(wrong=True), f"gave md5 .{{32}}, expected {MD5}", b""),
    ],
)
def test_a_response_that_will_not_change_ends_at_once(fault, sentence, begun, get, part, largest_file, waits, tmp_path):
    """What has arrived stays if it may be right; a server that sends more than registered does not fill the disk."""
    part.write_bytes(begun)
    largest_file(len(ARCHIVE))
    with BadServer(FILES, otherwise=fault) as server:
        with pytest.raises(MimiiError, match=f"{NAME}: {server.url}/{NAME} .*{sentence}"):
            get(server)
        assert {start for _, start in server.requests} == {len(begun)}
    assert not waits
    assert kept(tmp_path / "data") == ({f"archives/{NAME}.part": begun} if begun else {})


@pytest.mark.parametrize(("channel", "share"), [(0, 1 / 8), (None, 1)])
@pytest.mark.parametrize(("keep", "most"), [(True, sum), (False, max)])
def test_room_is_looked_at_first(channel, share, keep, most, get, room):
    """The clips and the largest archive must fit, or all archives where they are kept; nothing is requested before."""
    sizes = [download.read_registry()[name].bytes for name in FILES]
    needed = most(sizes) + sum(int(int(download.EXPANSION * size) * share) for size in sizes)
    how = {"machines": ["fan", "pump"], "channel": channel, "keep_archives": keep, "registry": None, "source": "mimii"}
    for free, sentence in ((needed - 1, f"{needed / 1e9:.1f} GB needed for -6_dB_fan, -6_dB_pump, "), (needed, "404")):
        room(free)
        with BadServer({}) as server, pytest.raises(MimiiError, match=sentence):
            get(server, **how)
        assert len(server.requests) == (free == needed)


def test_room_is_looked_at_again_before_unpacking(get, room, folder):
    """An archive in a mirror folder takes no room; an archive whose clips do not fit is not unpacked."""
    clips = int(download.EXPANSION * len(ARCHIVE)) // 8
    for free, sentence in ((clips - 1, "for -6_dB_fan,"), (clips, "for the clips of -6_dB_fan.zip")):
        room(free)
        with pytest.raises(MimiiError, match=f"MB needed {sentence}"):
            get(folder())


def test_a_disk_that_fills(get, part, largest_file, tmp_path):
    """What has arrived is kept, no clip is written in part, and the same command goes on."""
    with BadServer(FILES) as server:
        largest_file(100_000)
        with pytest.raises(MimiiError, match="cannot be used .File too large.*has room.*goes on where it stopped"):
            get(server)
        have = part.stat().st_size
        assert 0 < have <= 100_000
        largest_file(resource.RLIM_INFINITY)
        assert part.read_bytes() == ARCHIVE[:have]
        part.write_bytes(ARCHIVE)
        largest_file(1000)
        with pytest.raises(MimiiError, match="cannot be written .File too large"):
            get(server)
        assert not list((tmp_path / "data").rglob("*.wav"))


def test_a_mirror_folder_is_only_read(get, folder, tmp_path):
    """Wrong archives are refused, and all stay as they are, even where the mirror is the folder of kept archives."""
    mirror = folder({})
    for content, sentence in ((b"", "no such archive"), (b"PK", "has 2 bytes"), (ARCHIVE[:-1] + b"x", "has md5")):
        _ = content and (mirror / NAME).write_bytes(content)
        with pytest.raises(MimiiError, match=f"{mirror / NAME}: {sentence}"):
            get(mirror)
    folder()
    get(mirror)
    assert kept(tmp_path / "data") == EXPECTED
    assert kept(mirror) == FILES
    mirror.rename(tmp_path / "data" / "archives")
    shutil.rmtree(tmp_path / "data" / "-6_dB_fan")
    get(tmp_path / "data" / "archives")
    assert kept(tmp_path / "data") == EXPECTED | {f"archives/{name}": content for name, content in FILES.items()}


@pytest.mark.parametrize("channel", [3, 7, None])
def test_the_kept_channel_is_that_of_the_file(channel, get, folder, tmp_path):
    """A channel is kept bit for bit; all of them are the file that was packed."""
    get(folder(), channel=channel)
    assert kept(tmp_path / "data") == {f"-6_dB_fan/{path}": channel_of(content, channel) for path, content in ENTRIES}


def test_real_recordings(get, folder, real, tmp_path):
    """A real file of 8 channels gives the clip that the pipeline would have read from it; one of one channel stays."""
    paths = {path.relative_to(real / "0_dB_fan").as_posix(): path for path in (real / "0_dB_fan").rglob("*.wav")}
    files = {"0_dB_fan.zip": packed((name, path.read_bytes()) for name, path in paths.items())}
    get(folder(files), snr=0, files=files)
    for name, path in paths.items():
        unpacked = tmp_path / "data" / "0_dB_fan" / name
        assert unpacked.stat().st_size == 320_044
        assert np.array_equal(dataset.read(unpacked), dataset.read(path))
        assert soundfile.info(path).channels == 8 or unpacked.read_bytes() == path.read_bytes()


def test_what_cannot_be_cut_is_kept_as_it_is(get, folder, tmp_path):
    """A file that is not 16 bit of several channels is unpacked unchanged; a missing channel is an error."""
    odd = [clip(0)[:50], b"", b"no sound", clip(1, channels=1), clip(2, format="WAV", subtype="PCM_24")]
    files = {NAME: packed(zip(CLIPS, odd, strict=False))}
    get(folder(files), files=files)
    assert [kept(tmp_path / "data")[f"-6_dB_fan/{name}"] for name in CLIPS[: len(odd)]] == odd
    files = {NAME: packed([(CLIPS[0], clip(0, channels=2))])}
    with pytest.raises(MimiiError, match=f"{NAME}: {CLIPS[0]}: has 2 channels, so no channel 5"):
        get(folder(files), files=files, channel=5, dest=tmp_path / "other")
    assert kept(tmp_path / "other") == {}


def test_only_clips_are_unpacked(get, folder, tmp_path):
    """An outer folder is dropped; what else people pack along stays out, and its number is told."""
    other = ["readme.txt", "fan/id_00/notes.wav", "pump/id_00/normal/00000000.wav", "fan/id_00/normal/a/b.wav"]
    mac = ["__MACOSX/fan/id_00/normal/._00000000.wav", "fan/id_00/normal/._00000000.wav", "fan/id_00/.DS_Store"]
    entries = [(name, b"x") for name in other + mac] + [("-6_dB_fan/", b""), ("-6_dB_fan/fan/", b"")]
    files = {NAME: packed(entries + [(f"-6_dB_fan/{path}", content) for path, content in ENTRIES])}
    assert get(folder(files), files=files) == ["-6_dB_fan: unpacked, channel 0; 7 other files left out"]
    assert kept(tmp_path / "data") == EXPECTED


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def changed(*changes):
    """Return the archive with bytes at an offset from the first place of a signature replaced."""
    content = bytearray(ARCHIVE)
    for signature, offset, new in changes:
        start = content.index(signature) + offset
        content[start : start + len(new)] = new
    return bytes(content)


OUTSIDE = [
    *("../outside.wav", "fan/id_00/normal/../../../../outside.wav", "fan/..", "/outside.wav", "C:/outside.wav"),
    *("c:outside.wav", "fan\\id_00\\normal\\0.wav", "\\\\host\\share\\0.wav"),
]
BAD = [
    *((packed([*ENTRIES, (name, b"x")]), "entry .* would lie outside.*nothing of it is") for name in OUTSIDE),
    (packed([*ENTRIES, (link("fan/id_00/normal/9.wav"), b"/etc/passwd")]), "is a link"),
    (packed([*ENTRIES, (f"./{CLIPS[0]}", b"x")]), "is there twice"),
    (packed([*ENTRIES, (f"-6_dB_fan/{CLIPS[0].replace('wav', 'WAV')}", b"x")]), "is there twice"),
    (packed([*ENTRIES, ("fan/id_00/normal/9.wav", bytes(11_000_000))]), "has 11000000 bytes, more than a clip"),
    (changed((b"PK\3\4", 6, b"\1"), (b"PK\1\2", 8, b"\1")), "is encrypted"),
    (changed((b"PK\3\4", 22, b"\xe8\3\0\0"), (b"PK\1\2", 24, b"\xe8\3\0\0")), "broken.*Bad CRC-32"),
    (packed([("readme.txt", b"x")]), "holds no clip; expected entries like fan/id_00/normal/00000000.wav"),
    *((content, "broken") for content in (b"PK", ARCHIVE[:-30], ARCHIVE[: len(ARCHIVE) // 2])),
]


@pytest.mark.parametrize("clips", [None, 9])
@pytest.mark.parametrize(("content", "sentence"), BAD)
def test_an_archive_that_no_recordings_have_is_refused(content, sentence, clips, get, folder, tmp_path):
    """As a whole and before anything is written: what lies outside, is no file, states a wrong size or is broken.

    Single clips are refused like whole archives, though those before a wrong one are kept.
    """
    files = {NAME: content}
    mirror = folder(files)
    if clips and sentence.startswith("broken"):
        sentence = "(with wrong content|no directory that can be read)"
    with pytest.raises(MimiiError, match=f"{NAME}: .*{sentence}"):
        get(mirror, files=files, clips=clips)
    assert {path: content for path, content in kept(tmp_path).items() if not path.startswith("data/")} == {
        f"mirror/{NAME}": content,
        "registry.csv": (tmp_path / "registry.csv").read_bytes(),
    }
    wavs = {path.removeprefix("data/"): wav for path, wav in kept(tmp_path).items() if path.endswith(".wav")}
    assert wavs.items() <= (EXPECTED if clips else {}).items()
    assert not Path("/outside.wav").exists()


def test_a_changed_archive_is_an_error_of_one_kind(get, folder, tmp_path):
    """Whichever bytes are others: the archive is unpacked, or refused in a sentence; nothing lands elsewhere."""
    random = np.random.default_rng(0)
    refused = 0
    for n in range(150):
        content = bytearray(packed([(path, clip(n, samples=40)) for path in CLIPS[::4]]))
        content[random.integers(len(content))] = content[random.integers(len(content) - 100, len(content))] = n
        try:
            get(folder({NAME: content}), files={NAME: content}, dest=tmp_path / "fuzz" / "data")
        except MimiiError as error:
            refused += "\n" not in str(error)
        assert [path.name for path in (tmp_path / "fuzz").iterdir()] == ["data"]
        shutil.rmtree(tmp_path / "fuzz")
    assert 30 < refused < 150


@pytest.mark.parametrize("tree", ["-6_dB_fan/fan", "fan"])
def test_what_is_there_is_left_alone(tree, get, tmp_path, wav):
    """Recordings are not fetched again, nothing is written beside them, and one channel does not pass for all."""
    file = wav(tmp_path / "data" / tree / "id_00" / "normal" / "mine.wav", samples=16_000)
    assert get(NOWHERE) == ["-6_dB_fan: is there already"]
    with pytest.raises(MimiiError, match="one channel, all were asked for"):
        get(NOWHERE, channel=None)
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == [file]
    (tmp_path / "other" / "-6_dB_fan" / "notes").mkdir(parents=True)
    with pytest.raises(MimiiError, match="holds no recordings; take it away"):
        get(NOWHERE, dest=tmp_path / "other")


def test_a_kill_at_any_step(get, tmp_path):
    """After a kill before any change of the disk, no clip is unpacked twice, no byte fetched twice, no file lost."""
    content = packed(ENTRIES[::4])
    expected = {f"-6_dB_fan/{path}": channel_of(wav) for path, wav in ENTRIES[::4]}
    data, files = tmp_path / "data", {NAME: content}
    for step in itertools.count(1):
        with BadServer(files) as server:
            if not killed(lambda server=server: get(server, files=files), at=step):
                break
            whole, requests = (data / "-6_dB_fan").exists(), len(server.requests)
            assert not whole or expected.items() <= kept(data).items()
            unpacked = {path.relative_to(path.parents[3]): path.stat() for path in data.rglob("[!.]*.wav")}
            have = sum(path.stat().st_size for path in data.glob("archives/*.part"))
            get(server, files=files)
            assert server.requests[requests:] == [(NAME, have)] * (not whole and have < len(content))
        assert kept(data) == expected
        for path, state in unpacked.items():
            assert (data / "-6_dB_fan" / path).stat().st_mtime_ns == state.st_mtime_ns
        shutil.rmtree(data)
    assert step > 15


def test_channels_do_not_mix(get, folder, tmp_path):
    """An interrupted unpacking of another channel leaves nothing in the clips."""
    mirror = folder()
    assert killed(lambda: get(mirror, channel=1), at=25)
    assert any((tmp_path / "data").glob(".-6_dB_fan.*.part/**/*.wav"))
    get(mirror)
    assert kept(tmp_path / "data") == EXPECTED


def test_downloads_at_once(get, tmp_path):
    """One waits for the other and says so; each archive is fetched once, and a part of another archive stays."""
    other = tmp_path / "data" / "archives" / "-6_dB_valve.zip.part"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"some")
    options = {"machines": ["fan", "pump", "fan"], "registry": register(FILES, tmp_path / "registry.csv")}
    with BadServer(FILES, otherwise=Fault(pause=0.01)) as server:
        with ThreadPoolExecutor(3) as downloads:
            messages = [*downloads.map(lambda _: get(server, **options), range(3))]
        assert server.requests == [(name, 0) for name in FILES]
    waiting = f"{tmp_path / 'data'}: another download is at work here; waiting until it is done"
    there = [f"-6_dB_{machine}: is there already" for machine in ("fan", "pump")]
    unpacked = [f"-6_dB_{machine}: unpacked, channel 0" for machine in ("fan", "pump")]
    assert sorted(messages) == sorted([unpacked, [waiting, *there], [waiting, *there]])
    files = kept(tmp_path / "data")
    assert files.items() >= (EXPECTED | {"archives/-6_dB_valve.zip.part": b"some"}).items()
    assert len(files) == 2 * len(CLIPS) + 1
