"""A small HTTP server on this machine that serves bytes by name, knows ranges, and misbehaves as it is told.

>>> with BadServer({"some.zip": b"0123456789"}, faults=[Fault(cut=4)]) as server:
...     ...  # the first response to server.url + "/some.zip" breaks off after 4 bytes, the next are whole
"""

import re
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

CHUNK = 1 << 14


@dataclass(frozen=True)
class Fault:
    """What is wrong with the response to one request; by default nothing."""

    status: int | None = None  # this status, and no file
    retry_after: str | None = None  # the header Retry-After
    cut: int | None = None  # close the connection after this many bytes
    stall: float = 0.0  # seconds of silence before the connection is closed
    pause: float = 0.0  # seconds of silence after every 16 KiB
    drip: float = 0.0  # seconds of silence after every byte
    ignore_range: bool = False  # the whole file, whatever the range
    shift: int = 0  # begin this many bytes before the range
    size: int | None = None  # state that the file has this many bytes, and send what there is
    no_size: bool = False  # do not state how many bytes the file has
    more: bytes = b""  # after the end, counted into the response's length
    wrong: bool = False  # change the first byte
    headers: Mapping[str, str] = field(default_factory=dict)  # further ones


class BadServer:
    """A server in a thread, for a ``with`` block.

    `faults` are those of the first, second, … response, `otherwise` that of all later ones. `requests` are those so
    far, (name, first byte or None without a range) each; `sent` is how many bytes were sent, `most` how many requests
    were answered at a time, and `url` the address below which the `files` are.
    """

    def __init__(self, files: Mapping[str, bytes], faults: Iterable[Fault] = (), otherwise: Fault | None = None):
        self.files = files
        self.faults = deque(faults)
        self.otherwise = otherwise or Fault()
        self.requests: list[tuple[str, int | None]] = []
        self.sent = self.at_work = self.most = 0
        self.counting = threading.Lock()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop, also in the middle of a response."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    owner: BadServer

    def do_GET(self) -> None:
        with self.owner.counting:
            self.owner.at_work += 1
            self.owner.most = max(self.owner.most, self.owner.at_work)
            fault = self.owner.faults.popleft() if self.owner.faults else self.owner.otherwise
        try:
            self._answer(fault)
        finally:
            with self.owner.counting:
                self.owner.at_work -= 1

    def _answer(self, fault: Fault) -> None:
        name = self.path.lstrip("/")
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        requested = int(match[1]) if match else None
        self.owner.requests.append((name, requested))
        content = self.owner.files.get(name)
        if fault.status or content is None:
            self._headers(
                fault.status or 404, {"Retry-After": fault.retry_after, "Content-Length": "0", **fault.headers}
            )
            return
        size = len(content) if fault.size is None else fault.size
        if requested is None or fault.ignore_range:
            body = content + fault.more
            length = None if fault.no_size else str(size if fault.size is not None else len(body))
            self._headers(200, {"Content-Length": length, **fault.headers})
        elif requested >= size:
            self._headers(416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"})
            return
        else:
            start, end = max(requested - fault.shift, 0), min(int(match[2]) + 1 if match[2] else size, size)
            body = content[start:end] + fault.more
            extent = f"bytes {start}-{end - 1}/{'*' if fault.no_size else size}"
            self._headers(206, {"Content-Range": extent, "Content-Length": str(len(body)), **fault.headers})
        self._send(bytes([body[0] ^ 1]) + body[1:] if fault.wrong else body, fault)

    def _headers(self, status: int, headers: Mapping[str, str | None]) -> None:
        self.send_response(status)
        for name, text in headers.items():
            if text is not None:
                self.send_header(name, text)
        self.end_headers()

    def _send(self, body: bytes, fault: Fault) -> None:
        body = body[: fault.cut]
        try:
            size = 1 if fault.drip else CHUNK
            for start in range(0, len(body), size):
                self.wfile.write(body[start : start + size])
                with self.owner.counting:
                    self.owner.sent += len(body[start : start + size])
                self.owner.closing.wait(fault.drip or fault.pause)
            self.owner.closing.wait(fault.stall)
        except OSError:  # the client has gone
            pass
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""
