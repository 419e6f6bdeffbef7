"""A small HTTP server of one file that misbehaves as told, request by request."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")  # of 127.0.0.1, with its key; signed by itself


@dataclass
class FileServer:
    """``script`` holds what to do on the next requests; afterwards the file is served as it should be."""

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True
    delay: float = 0.0  # seconds before each 64 kB
    length: bool = True  # send Content-Length
    script: list[Callable[[BaseHTTPRequestHandler, FileServer], None]] = field(default_factory=list)
    seen: list[dict] = field(default_factory=list)  # path and headers of each request
    url: str = ""

    def serve(self, request: BaseHTTPRequestHandler, stop_after: int | None = None) -> None:
        """Answer properly, but close the connection after ``stop_after`` bytes of the body."""
        start, wanted = 0, request.headers.get("Range")
        valid = self.etag is not None and request.headers.get("If-Range") == self.etag
        if wanted and self.ranges and valid:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            if start >= len(self.content):
                request.send_response(416)
                request.send_header("Content-Range", f"bytes */{len(self.content)}")
                request.end_headers()
                return
        body = self.content[start:]
        request.send_response(206 if start else 200)
        if start:
            last = len(self.content) - 1
            request.send_header("Content-Range", f"bytes {start}-{last}/{len(self.content)}")
        if self.length:
            request.send_header("Content-Length", str(len(body)))
        if self.etag is not None:
            request.send_header("ETag", self.etag)
        request.end_headers()
        self.send(request, body[:stop_after])

    def send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        for at in range(0, len(body), 1 << 16):
            time.sleep(self.delay)
            request.wfile.write(body[at : at + (1 << 16)])
            request.wfile.flush()


def drop_after(count: int) -> Callable:
    """Close the connection after so many bytes."""
    return lambda request, server: server.serve(request, stop_after=count)


def answer(code: int, **headers: str) -> Callable:
    """An empty answer."""

    def act(request: BaseHTTPRequestHandler, server: FileServer) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return act


def stall(seconds: float) -> Callable:
    """Send the headers and the first bytes, then nothing."""

    def act(request: BaseHTTPRequestHandler, server: FileServer) -> None:
        server.serve(request, stop_after=1000)
        time.sleep(seconds)

    return act


def change(content: bytes, etag: str) -> Callable:
    """From this request on the file is another one."""

    def act(request: BaseHTTPRequestHandler, server: FileServer) -> None:
        server.content, server.etag = content, etag
        server.serve(request)

    return act


def raw(head: str, body: bytes = b"") -> Callable:
    """Any answer at all."""
    return lambda request, server: request.wfile.write(head.replace("\n", "\r\n").encode() + body)


@contextmanager
def serving(server: FileServer, https: bool = False) -> Iterator[FileServer]:
    """Run ``server`` on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 (the name http.server calls)
            server.seen.append({"path": self.path, **self.headers})
            act = server.script.pop(0) if server.script else (lambda request, it: it.serve(request))
            try:
                act(self, server)
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                self.close_connection = True  # the client went away: some tests do that

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.handle_error = lambda *_: None  # a client that does not trust the certificate hangs up
    if https:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    server.url = f"http{'s' if https else ''}://127.0.0.1:{http.server_port}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
