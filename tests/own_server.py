"""A server of files on 127.0.0.1, which goes wrong as it is told to."""

from __future__ import annotations

import hashlib
import re
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from aevlp.data import archives

ETAG = '"one"'


class OwnServer:
    """Serves `content`, by path. Each GET takes one of `turns`, a function of the request; none are left: it behaves."""

    def __init__(self):
        self.content, self.turns, self.asked = {}, [], []
        outer = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self):
                self.send_response(200)
                self.end_headers()

            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
                (outer.turns.pop(0) if outer.turns else behave)(self, outer.content.get(self.path))
                self.close_connection = True

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def offer(self, monkeypatch, name, *described):
        """Let this server's archives, (file name, bytes, places) each, be the official ones of dataset `name`."""
        known = []
        for file, content, places in described:
            self.content[f"/{file}"] = content
            known.append(archives.Archive(f"{self.url}/{file}", len(content), hashlib.md5(content).hexdigest(), places, 10**6))
        monkeypatch.setitem(archives.ARCHIVES, name, tuple(known))
        return known


def behave(request, content, *, send=None, tag=ETAG, headers=()):
    """Answer a request as a good server does; `send` bytes at most."""
    if content is None:
        request.send_error(404)
        return
    begin = int(re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "bytes=0-")[1])
    if begin and request.headers.get("If-Range") not in (None, tag):
        begin = 0
    if begin >= len(content) and begin:
        request.send_error(416)
        return
    request.send_response(206 if begin else 200)
    values = {"Content-Length": len(content) - begin, "ETag": tag}
    if begin:
        values["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
    for key, value in {**values, **dict(headers)}.items():
        if value is not None:
            request.send_header(key, str(value))
    request.end_headers()
    request.wfile.write(content[begin:][:send])


def breaks_off(request, content):
    """After a third of what is left."""
    begin = int((request.headers.get("Range") or "bytes=0-")[6:-1])
    behave(request, content, send=(len(content) - begin) // 3)


def ignores_range(request, content):
    """Sends all from the beginning."""
    request.headers.replace_header("Range", "bytes=0-")
    behave(request, content)


def fails(code):
    """With an error."""
    return lambda request, content: request.send_error(code)


def packed(folder, file, into):
    """A tar, tgz or zip of all that is in `folder`, as bytes; written in `into` first."""
    path = into / file
    if file.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            for member in sorted(folder.rglob("*")):
                archive.write(member, member.relative_to(folder))
    else:
        with tarfile.open(path, "w:gz" if file.endswith("gz") else "w") as archive:
            for member in sorted(folder.iterdir()):
                archive.add(member, member.name)
    return path.read_bytes()
