"""A small HTTP server on this machine that serves bytes by name, knows ranges, and misbehaves as it is told.

>>> with BadServer({"some.zip": b"0123456789"}, faults=[Fault(cut=4)]) as server:
...     ...  # the first request of server.url + "/some.zip" breaks off after 4 bytes, the next are answered well
"""

import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import unquote, urlsplit

CHUNK = 1 << 14


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; by default nothing.

    Attributes
    ----------
    status
        Answer with this status and no file.
    retry_after
        What the header ``Retry-After`` then says.
    cut
        Close the connection after this many bytes of the answer.
    stall
        Seconds to be silent before the connection is cut, or before the end if it is not.
    pause
        Seconds to wait after every 16 KiB.
    ignore_range
        Answer with the whole file, whatever was asked for.
    shift
        Answer from this many bytes before what was asked for.
    size
        Say that the file has this many bytes (the answer holds what there is).
    no_size
        Do not say how many bytes the file has.
    more
        Send this after the end, and count it into the answer's length.
    wrong
        Turn the first byte of the answer into another one.
    """

    status: int | None = None
    retry_after: str | None = None
    cut: int | None = None
    stall: float = 0.0
    pause: float = 0.0
    ignore_range: bool = False
    shift: int = 0
    size: int | None = None
    no_size: bool = False
    more: bytes = b""
    wrong: bool = False


@dataclass(frozen=True)
class Request:
    """What was asked for: the name of a file, and the bytes from ``start`` on (None: no range)."""

    name: str
    start: int | None


class BadServer:
    """A server in a thread, for a ``with`` block.

    Parameters
    ----------
    files
        What is served, by name.
    faults
        What goes wrong with the first, second, … request.
    otherwise
        What goes wrong with all later requests.

    Attributes
    ----------
    url
        The address below which the files are.
    requests
        The requests so far.
    """

    def __init__(self, files: Mapping[str, bytes], faults: Iterable[Fault] = (), otherwise: Fault | None = None):
        self.files = files
        self.faults = deque(faults)
        self.otherwise = otherwise or Fault()
        self.requests: list[Request] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop, also in the middle of a fault."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: BadServer

    def do_GET(self) -> None:
        name = unquote(urlsplit(self.path).path).lstrip("/")
        said = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        asked = int(said[1]) if said else None
        self.owner.requests.append(Request(name, asked))
        fault = self.owner.faults.popleft() if self.owner.faults else self.owner.otherwise
        content = self.owner.files.get(name)
        if fault.status or content is None:
            self._headers(fault.status or 404, {"Retry-After": fault.retry_after, "Content-Length": "0"})
            return
        size = len(content) if fault.size is None else fault.size
        if asked is None or fault.ignore_range:
            body = content + fault.more
            length = None if fault.no_size else str(size if fault.size is not None else len(body))
            self._headers(200, {"Content-Length": length})
        elif asked >= size:
            self._headers(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        else:
            start = max(asked - fault.shift, 0)
            body = content[start:] + fault.more
            extent = f"bytes {start}-{size - 1}/{'*' if fault.no_size else size}"
            self._headers(206, {"Content-Range": extent, "Content-Length": str(len(body))})
        self._send(body, fault)

    def _headers(self, status: int, headers: Mapping[str, str | None]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            if text is not None:
                self.send_header(name, text)
        self.end_headers()

    def _send(self, body: bytes, fault: Fault) -> None:
        if fault.wrong:
            body = bytes([body[0] ^ 1]) + body[1:]
        end = len(body) if fault.cut is None else fault.cut
        try:
            for start in range(0, min(end, len(body)), CHUNK):
                self.wfile.write(body[start : min(start + CHUNK, end)])
                self.owner.closing.wait(fault.pause)
            self.owner.closing.wait(fault.stall)
        except OSError:  # the other side has gone
            pass
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Keep silent."""
