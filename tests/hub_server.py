"""A server that speaks the protocol of Hugging Face's hub, with the faults that a test asks for."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LARGE = 20_000
"""Bytes from which a file is kept outside of git, as the hub does with weights: it has a SHA-256 and is elsewhere."""


class Hub:
    """One repository at one commit, and what was asked for."""

    def __init__(self, folder: Path, repository: str, commit: str) -> None:
        self.files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        self.sent = dict(self.files)
        """What is sent: a test may spoil it."""
        self.repository, self.commit = repository, commit
        self.asked: list[tuple[str, dict[str, str]]] = []
        """The paths that were asked for, with the headers."""
        self.faults: dict[str, list[Callable[[Any, bytes], None]]] = defaultdict(list)
        """What to do instead of an answer, by the file's name ("" is the list of files), each once."""
        self.url = ""

    def gets(self, name: str) -> list[dict[str, str]]:
        """The headers of the requests for a file's content."""
        return [headers for path, headers in self.asked if path == f"/cdn/{name}" or path.endswith(f"/plain/{name}")]

    def sibling(self, name: str) -> dict[str, Any]:
        content = self.files[name]
        listed = {
            "rfilename": name,
            "size": len(content),
            "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        }
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            listed |= {"blobId": "0" * 40, "lfs": {"sha256": digest, "size": len(content), "pointerSize": 134}}
        return listed


def status(code: int, **headers: str) -> Callable[[Any, bytes], None]:
    """Answer with a status."""

    def answer(handler: Any, _content: bytes) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def broken_off(handler: Any, content: bytes) -> None:
    """Say how much there is, send half of it and hang up."""
    start = handler.start()
    handler.head(206 if start else 200, len(content) - start, start, len(content))
    handler.wfile.write(content[start : start + (len(content) - start) // 2])
    handler.wfile.flush()
    handler.close_connection = True


def from_the_beginning(handler: Any, content: bytes) -> None:
    """Send everything, whatever part was asked for."""
    handler.head(200, len(content), 0, len(content))
    handler.wfile.write(content)


def silent(handler: Any, content: bytes) -> None:
    """Say how much there is, and send nothing until the other side gives up."""
    handler.head(200, len(content), 0, len(content))
    handler.wfile.flush()
    handler.connection.settimeout(60)
    handler.rfile.read(1)
    handler.close_connection = True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: Any) -> None:
        pass

    def start(self) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(found[1]) if found else 0

    def head(self, code: int, length: int, start: int, whole: int) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(length))
        if code == 206:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        self.end_headers()

    def do_GET(self) -> None:
        hub = self.hub
        hub.asked.append((self.path, dict(self.headers)))
        if self.path.startswith(f"/api/models/{hub.repository}/revision/"):
            content = json.dumps(
                {
                    "id": hub.repository,
                    "sha": hub.commit,
                    "siblings": [hub.sibling(name) for name in hub.files],
                }
            ).encode()
            return self.answer("", content)
        at = f"/{hub.repository}/resolve/{hub.commit}/"
        name = self.path.rpartition("/")[2]
        if name not in hub.files or not self.path.startswith((at, "/cdn/", "/plain/")):
            return status(404, X_Error_Code="EntryNotFound")(self, b"")
        if self.path.startswith(at):
            to = "cdn" if len(hub.files[name]) >= LARGE else "plain"
            return status(302, Location=f"{hub.url}/{to}/{name}", X_Repo_Commit=hub.commit)(self, b"")
        return self.answer(name, hub.sent[name])

    def answer(self, name: str, content: bytes) -> None:
        if self.hub.faults[name]:
            return self.hub.faults[name].pop(0)(self, content)
        start = self.start()
        self.head(206 if start else 200, len(content) - start, start, len(content))
        self.wfile.write(content[start:])


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Have the server run in the block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
