"""A loopback stand-in of Kaggle's API, written from facts/kaggle-platform.md; the real client talks to it.

`Server` speaks HTTP for what Kaggle knows (tests/build/kaggle/site.py), keeps a log of every request and injects
faults: `server.fault("SaveKernel", drop="after")` loses the answer of the next SaveKernel after it took effect. A
request is named by its last part (SaveKernel, GetDatasetStatus, …), an upload `PUT`, a download `GET`, the live log
of a run `StreamLog`.

In a thread: `with Server() as server: …`, then give the client `server.environment(home)`. As a process, which
outlives its clients: `python -m tests.build.kaggle.server --port 0` prints its port; POST /control {"do": "fault" |
"set" | "log" | "summary", …} does from outside what the methods do from inside.
"""

import argparse
import hashlib
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.build.kaggle.site import Refusal, Reply, Site, Stream


@dataclass
class Fault:
    """What goes wrong with one request; without `after` it goes wrong before the request has an effect."""

    match: str  # a request's name, or part of a path such as upload/ or file/
    nth: int = 1  # which of the matching requests from now on
    times: int = 1  # how many of them from there on
    after: bool = False  # the effect takes place first
    status: int = 0  # answer this HTTP code
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None  # answer this instead: JSON, or text as it stands (with status 0: in a 200)
    edit: Reply = field(default_factory=dict)  # changes single fields of the true reply
    drop: str = ""  # "before" or "after" the effect: the connection breaks, no answer
    delay_s: float = 0.0  # before the answer
    keep_bytes: int = -1  # upload: so many bytes of the body arrive, then `status`, or the connection breaks
    no_length: bool = False  # answer: in chunks, without a Content-Length
    cut_bytes: int = -1  # answer: so many bytes of the body are sent, then the connection breaks
    seen: int = 0

    def strikes(self, name: str, path: str) -> bool:
        if self.match != name and not ("/" in self.match and self.match in path):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


@dataclass
class Seen:
    """One request as it arrived."""

    n: int
    name: str
    path: str
    body: Any  # parsed JSON, or the number of bytes of an upload
    headers: dict[str, str]


LOGS = "/api/v1/kernels/logs/stream/"


@dataclass
class Streamed:
    """A live log, as it is sent."""

    stream: Stream
    events: list[Reply]


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


class Server(ThreadingHTTPServer):
    """Speaks HTTP for a Site, logs, and injects faults."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.site = Site()
        self.log: list[Seen] = []
        self.faults: list[Fault] = []
        self.leaks: list[str] = []  # requests outside the API that carried credentials
        self.lock = threading.RLock()
        # Called as hook("before" | "after", number, name) around each request's effect, outside the lock.
        self.hook: Callable[[str, int, str], None] = lambda phase, n, name: None

    def __enter__(self) -> "Server":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no error of ours."""

    @property
    def port(self) -> int:
        return self.server_address[1]

    def environment(self, home: Path) -> dict[str, str]:
        """Return what the real client needs to talk to this server, on top of a clean environment."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": proxy,
            "KAGGLE_USERNAME": "kim",
            "KAGGLE_KEY": self.site.keys["kim"],
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "KIT_POLL_S": "0.05",
            "KIT_SETTLE_S": "0.5",
        }

    def fault(self, match: str, **what: Any) -> Fault:
        fault = Fault(match, **what)
        with self.lock:
            self.faults.append(fault)
        return fault

    def names(self) -> list[str]:
        return [seen.name for seen in self.log]

    def bodies(self, name: str) -> list[Any]:
        return [seen.body for seen in self.log if seen.name == name]

    def control(self, order: Reply) -> Reply:
        """Do from outside what the methods do from inside; values of `set` are plain JSON, bytes are text."""
        match order.pop("do"):
            case "fault":
                self.fault(**order)
            case "set":
                for name, value in order.items():
                    if name == "outputs":
                        value = {slug: {n: t.encode() for n, t in files.items()} for slug, files in value.items()}
                    setattr(self.site, name, value)
            case "log":
                return {"log": [{"n": seen.n, "name": seen.name, "body": seen.body} for seen in self.log]}
            case "summary":
                return self.site.summary()
        return {}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if path == "/control":
            return self.answer(200, self.server.control(body))
        self.serve(path.rpartition("/")[2], path, body, self.call)

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length")
        if length is None:
            return self.answer(411, {"message": "length required"})
        self.serve("PUT", urlsplit(self.path).path, int(length), self.receive)

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.startswith(LOGS):
            return self.serve("StreamLog", path, parse_qs(urlsplit(self.path).query), self.stream_log)
        self.serve("GET", path, None, self.send_file)

    def serve(self, name: str, path: str, body: Any, effect: Callable[..., tuple[int, Any, dict[str, str]]]) -> None:
        """Log, let faults strike, have the effect, answer."""
        server = self.server
        with server.lock:
            seen = Seen(len(server.log), name, path, body, dict(self.headers))
            server.log.append(seen)
            struck = [fault for fault in server.faults if fault.strikes(name, path)]  # each counts every request
            fault = struck[0] if struck else Fault("")
            if not path.startswith("/api/") and "Authorization" in self.headers:
                server.leaks.append(path)
        server.hook("before", seen.n, name)
        if fault.delay_s:
            time.sleep(fault.delay_s)
        spoilt = fault.status or fault.body is not None
        after = fault.after or fault.drop == "after"
        try:
            if fault.keep_bytes >= 0:
                self.receive(path, min(fault.keep_bytes, body))
                return self.answer(fault.status, {}) if fault.status else self.hang_up()
            if not after:
                if isinstance(body, int) and (spoilt or fault.drop):
                    self.rfile.read(body)  # an upload arrives, and is lost
                if fault.drop:
                    return self.hang_up()
                if spoilt:
                    return self.answer(fault.status or 200, fault.body, fault.headers)
            try:
                with server.lock:
                    status, reply, headers = effect(path, body)
            except Refusal as refusal:
                status, headers = refusal.status, {}
                reply = {"code": refusal.status, "message": refusal.message}
            server.hook("after", seen.n, name)
            if fault.drop:
                return self.hang_up()
            if spoilt:
                return self.answer(fault.status or 200, fault.body, fault.headers)
            if fault.edit and isinstance(reply, dict):
                reply = reply | fault.edit
            self.answer(status, reply, headers | fault.headers, fault.cut_bytes, fault.no_length)
        except (BrokenPipeError, ConnectionResetError):  # the client was killed
            self.close_connection = True

    def call(self, path: str, body: Reply) -> tuple[int, Any, dict[str, str]]:
        site = self.server.site
        name = path.rpartition("/")[2]
        method = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        if name != "IntrospectToken":
            site.caller = site.user(self.headers.get("Authorization", ""))
        handler = getattr(site, method, None)
        if handler is None or not path.startswith("/api/v1/"):
            raise Refusal(404, f"no such request: {path}")
        reply = handler(body)
        if isinstance(reply, str):  # as on the live site, files lie elsewhere
            return 302, {}, {"Location": reply}
        return 200, reply, {}

    def stream_log(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
        """Answer with the events of a run, or with what is stored of it."""
        site = self.server.site
        site.caller = site.user(self.headers.get("Authorization", ""))
        owner, _, slug = path.removeprefix(LOGS).partition("/")
        stream, events, live = site.open_log(owner, slug, query.get("versionLabel", [None])[0])
        if stream.status != 200:
            raise Refusal(stream.status, "no stream")
        if not live:
            return 200, json.dumps(events).encode(), {}
        return 200, Streamed(stream, events[stream.first : stream.last]), {"Content-Type": stream.kind}

    def receive(self, path: str, length: int) -> tuple[int, Any, dict[str, str]]:
        """Take an upload as Google's store does: whole, from a byte on, or only tell how much is there."""
        blob = self.server.site.blobs.get(path.rpartition("/")[2])
        data = self.rfile.read(length)
        if blob is None:
            raise Refusal(404, "upload expired")
        wanted = self.headers.get("Content-Range", "")
        if not wanted:
            blob.data = data
        elif start := re.match(r"bytes (\d+)-", wanted):
            blob.data = blob.data[: int(start[1])] + data
        if len(blob.data) == blob.length:
            return 200, {}, {}
        return 308, {}, {"Range": f"bytes=0-{len(blob.data) - 1}"} if blob.data else {}

    def send_file(self, path: str, _: None) -> tuple[int, Any, dict[str, str]]:
        data = self.server.site.files.get(path)
        if data is None:
            raise Refusal(404, "no such file")
        tag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start and self.headers.get("If-Range", tag) == tag:
            first = int(start[1])
            if first >= len(data):
                return 416, b"", {"Content-Range": f"bytes */{len(data)}"}
            return 206, data[first:], headers | {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"}
        return 200, data, headers

    def answer(
        self,
        status: int,
        reply: Any,
        headers: dict[str, str] | None = None,
        cut_bytes: int = -1,
        no_length: bool = False,
    ) -> None:
        if isinstance(reply, Streamed):
            return self.send_stream(reply, headers or {})
        if isinstance(reply, bytes):
            kind, data = "application/octet-stream", reply
        elif isinstance(reply, str):
            kind, data = "text/html", reply.encode()
        else:
            kind, data = "application/json", json.dumps(reply or {}).encode()
        self.send_response(status)
        length = {"Transfer-Encoding": "chunked"} if no_length else {"Content-Length": str(len(data))}
        for name, value in {"Content-Type": kind, **length, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if no_length:
            data = b"".join(b"%x\r\n%s\r\n" % (len(b), b) for b in _blocks(data, 1000)) + b"0\r\n\r\n"
        self.wfile.write(data if cut_bytes < 0 else data[:cut_bytes])
        if cut_bytes >= 0:
            self.hang_up()

    def send_stream(self, streamed: "Streamed", headers: dict[str, str]) -> None:
        """Send one event after the other, each at once; then hold, end or break."""
        stream = streamed.stream
        self.send_response(200)
        more = {"Transfer-Encoding": "chunked"} if stream.chunked else {"Connection": "close"}
        for name, value in {**headers, **more}.items():
            self.send_header(name, value)
        self.end_headers()
        lines = [f"data: {json.dumps(event)}\n\n" for event in streamed.events]
        for line in [stream.raw] if stream.raw is not None else [": open\n\n", *lines]:
            self.send_piece(line.encode(), stream.chunked)
        time.sleep(stream.hold_s)
        if stream.end == "end":
            self.send_piece(b"data: END_OF_LOG\n\n", stream.chunked)
        if stream.end == "break":
            self.send_piece(b'data: {"stream_name": "stdout", "ti', stream.chunked)
        elif stream.chunked:
            self.wfile.write(b"0\r\n\r\n")
        if stream.end == "break" or not stream.chunked:
            self.hang_up()

    def send_piece(self, data: bytes, chunked: bool) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    server = Server(parser.parse_args().port)
    print(json.dumps({"port": server.port, "pid": os.getpid()}), flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
