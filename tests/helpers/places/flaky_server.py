"""A local HTTP server with the faults that real ones have."""

import re
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Server:
    """What it serves, how it fails, and what it was asked.

    Attributes:
        files: content by path, such as ``/IXI-T1.tar``.
        break_after: bytes of a body after which the connection is cut; one for each request, then none.
        statuses: to answer with instead; one for each request, then the right one.
        ignore_range: answer 200 with the whole file, whatever was asked for.
        shift: bytes by which a partial answer is off.
        pause: seconds between pieces of ``piece`` bytes.
        silent: seconds before an answer.
        endless: tell no length, and never end.
        asked: the Range of each request, None without.
        logins: user and password of each request that has them.
    """

    files: dict[str, bytes]
    break_after: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    ignore_range: bool = False
    shift: int = 0
    pause: float = 0.0
    piece: int = 1 << 16
    silent: float = 0.0
    endless: bool = False
    asked: list[str | None] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    address: str = ""


@contextmanager
def serving(server: Server, certificate: Path | None = None) -> Iterator[Server]:
    """Serve on a free port of the loopback interface while the block lasts, with a certificate by https."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(server, self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        server.address = f"http{'s' if certificate else ''}://127.0.0.1:{http.server_port}"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            http.socket = context.wrap_socket(http.socket, server_side=True)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def _answer(server: Server, request: BaseHTTPRequestHandler) -> None:
    asked = request.headers.get("Range")
    server.asked.append(asked)
    if login := request.headers.get("Authorization"):
        server.logins.append(b64decode(login.removeprefix("Basic ")).decode())
    time.sleep(server.silent)
    content = server.files.get(request.path)
    status = server.statuses.pop(0) if server.statuses else 200 if content is not None else 404
    if status != 200 or content is None:
        request.send_error(status)
        return
    start = 0
    if asked and not server.ignore_range:
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
        if start >= len(content):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(content)}")
            request.end_headers()
            return
        start += server.shift
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
    else:
        request.send_response(200)
    body = content[start:]
    if not server.endless:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if server.break_after:
        body = body[: server.break_after.pop(0)]
    try:
        for begin in range(0, len(body), server.piece):
            request.wfile.write(body[begin : begin + server.piece])
            time.sleep(server.pause)
        while server.endless:
            request.wfile.write(bytes(server.piece))
    except ConnectionError:
        # Who asked has hung up, as an impatient one does.
        pass
