"""A loopback stand-in of Kaggle's API, written from facts/kaggle-platform.md; the real client talks to it.

`Site` is what Kaggle knows: datasets, kernels, runs, submissions. `Server` speaks HTTP for it, keeps a log of every
request and injects faults: `server.fault("SaveKernel", drop="after")` loses the answer of the next SaveKernel after it
took effect. A request is named by its last part (SaveKernel, GetDatasetStatus, …), an upload `PUT`, a download `GET`.

In a thread: `with Server() as server: …`, then give the client `server.environment(home)`. As a process, which outlives
its clients: `python tests/push/server.py --port 0` prints its port; POST /control {"do": "fault" | "set" | "log" |
"summary", …} does from outside what the methods do from inside.
"""

import argparse
import base64
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
from urllib.parse import urlsplit

STORE = "http://store.localhost"  # uploads and downloads lie on another host than the API
Reply = dict[str, Any]


class Refusal(Exception):
    """The site answers with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


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


@dataclass
class Blob:
    """An upload: announced, then filled."""

    name: str
    length: int
    data: bytes = b""
    used: bool = False


@dataclass
class Dataset:
    """A dataset with all its versions."""

    owner: str
    slug: str
    title: str
    licence: str
    private: bool
    versions: list[dict[str, bytes]]
    notes: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)  # still to be told, the last one stays
    empty_listings: int = 0  # still to be answered although READY
    failed: list[int] = field(default_factory=list)  # versions that cannot be processed, from 0


@dataclass
class Kernel:
    """A kernel with all its versions and the run of the newest."""

    owner: str
    slug: str
    versions: list[Reply]  # the SaveKernel requests
    states: list[str] = field(default_factory=list)


def slugify(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


class Site:
    """What Kaggle knows. Attributes are there to be changed by a test."""

    def __init__(self) -> None:
        self.keys = {"kim": "key-of-kim"}
        self.tokens: dict[str, str] = {}  # token → user
        self.inactive_status = 0  # HTTP code of IntrospectToken for an unknown token; 0: 200 with active false
        self.absent_status = 403  # of a kernel that does not exist
        self.absent_dataset_status = 404
        # Told one after the other once a version was made; "STALE" says READY and shows the version before.
        self.dataset_states = ["READY"]
        self.empty_listings = 0  # READY, yet so many listings without files
        self.hides_first_version = True  # 403 while the first version is not READY
        self.loses_files: list[str] = []  # never arrive in the dataset: a partial dataset
        self.kernel_states = ["QUEUED", "RUNNING", "COMPLETE"]
        self.failure = "Your notebook threw an exception"
        self.outputs: dict[str, dict[str, bytes]] = {}  # kernel slug → what its run leaves
        self.logs: dict[str, str] = {}
        self.drops_sources: list[str] = []  # reported as invalid by SaveKernel
        self.readback: Reply = {}  # overrides GetKernel's metadata
        self.competitions: dict[str, dict[str, bytes]] = {"csiro-biomass": {}}  # slug → data files
        self.archives: dict[str, bytes] = {}  # competition → archive, made of its files if absent
        self.rules_accepted = True
        self.page_size = 200  # no page is longer, whatever is asked for
        self.submissions_a_day = 5
        self.polls_until_scored = 1  # how often the list shows a submission as pending
        self.scores = ("0.71", "")  # public, private
        self.gpu_used_s, self.gpu_total_s = 3600, 30 * 3600
        self.datasets: dict[str, Dataset] = {}
        self.kernels: dict[str, Kernel] = {}
        self.submissions: list[Reply] = []
        self.blobs: dict[str, Blob] = {}
        self.files: dict[str, bytes] = {}  # by path, for GET

    # Accounts.

    def user(self, authorization: str) -> str:
        kind, _, value = authorization.partition(" ")
        if kind == "Bearer" and value in self.tokens:
            return self.tokens[value]
        if kind == "Basic":
            name, _, key = base64.b64decode(value).decode().partition(":")
            if self.keys.get(name) == key:
                return name
        raise Refusal(401, "Unauthenticated")

    def introspect_token(self, body: Reply) -> Reply:
        user = self.tokens.get(body.get("token", ""))
        if user is None and self.inactive_status:
            raise Refusal(self.inactive_status, "invalid token")
        return {"active": True, "username": user} if user else {"active": False}

    # Kernels.

    def save_kernel(self, body: Reply) -> Reply:
        owner, _, slug = body["slug"].partition("/")
        if len(body["text"].encode()) > 1_000_000:
            raise Refusal(400, "The notebook source exceeds the limit of 1 MB")
        if owner != self.caller:
            raise Refusal(403, "Permission 'kernels.update' was denied")
        if slugify(body.get("newTitle", slug)) != slug:
            raise Refusal(409, "The title is already in use by another notebook")
        gone = [s for s in body.get("datasetDataSources", []) if s not in self.datasets or s in self.drops_sources]
        lost = [s for s in body.get("competitionDataSources", []) if s not in self.competitions]
        kernel = self.kernels.setdefault(body["slug"], Kernel(owner, slug, []))
        kernel.versions.append(body | {"datasetDataSources": _without(body.get("datasetDataSources", []), gone)})
        kernel.states = list(self.kernel_states)
        number = len(kernel.versions)
        return {
            "ref": f"/code/{body['slug']}",
            "url": f"https://www.kaggle.com/code/{body['slug']}",
            "versionNumber": number,
            "invalidDatasetSources": gone,
            "invalidCompetitionSources": lost,
        }

    def kernel(self, body: Reply) -> Kernel:
        kernel = self.kernels.get(f"{body.get('userName')}/{body.get('kernelSlug')}")
        if kernel is None:
            raise Refusal(self.absent_status, "Permission 'kernels.get' was denied")
        return kernel

    def get_kernel_session_status(self, body: Reply) -> Reply:
        states = self.kernel(body).states
        state = states.pop(0) if len(states) > 1 else states[0]
        return {"status": state} | ({"failureMessage": self.failure} if state == "ERROR" else {})

    def get_kernel(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        newest = kernel.versions[-1]
        keys = (
            "language kernelType isPrivate enableGpu enableInternet enableTpu machineShape datasetDataSources "
            "competitionDataSources kernelDataSources modelDataSources categoryIds dockerImage"
        )
        metadata = {key: newest[key] for key in keys.split() if key in newest}
        metadata |= {"id": 7, "ref": f"{kernel.owner}/{kernel.slug}", "title": newest.get("newTitle", kernel.slug)}
        metadata |= {"author": kernel.owner, "slug": kernel.slug, "currentVersionNumber": len(kernel.versions)}
        blob = {"source": newest["text"], "language": "python", "kernelType": "notebook", "slug": kernel.slug}
        return {"metadata": metadata | self.readback, "blob": blob}

    def edit_kernel(self, ref: str, source: str) -> None:
        """Do what a person does in the browser: a new version with another source."""
        versions = self.kernels[ref].versions
        versions.append(versions[-1] | {"text": source})

    def list_kernel_session_output(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        names = sorted(self.outputs.get(kernel.slug, {}))
        page, token = self.paged(names, body)
        files = []
        for name in page:
            url = self.publish(f"output/{kernel.slug}/{name}", self.outputs[kernel.slug][name])
            files.append({"fileName": name, "url": url})
        return {"files": files, "log": self.logs.get(kernel.slug, ""), "nextPageToken": token}

    def get_accelerator_quota_statistics(self, body: Reply) -> Reply:
        gpu = {"timeUsed": f"{self.gpu_used_s}s", "totalTimeAllowed": f"{self.gpu_total_s}s"}
        return {"quotaRefreshTime": "2026-11-28T00:00:00Z", "gpuQuota": gpu}

    # Datasets.

    def start_blob_upload(self, body: Reply) -> Reply:
        token = f"blob-{len(self.blobs)}"
        self.blobs[token] = Blob(body["name"], int(body.get("contentLength", 0)))
        return {"token": token, "createUrl": f"{STORE}/upload/{token}?signature=secret-{token}"}

    def take_blobs(self, files: list[Reply]) -> dict[str, bytes]:
        taken = {}
        for file in files:
            blob = self.blobs.get(file["token"])
            if blob is None or blob.used or len(blob.data) != blob.length:
                raise Refusal(400, f"upload {file['token']} is unknown, used or not complete")
            if blob.name not in self.loses_files:
                taken[blob.name] = blob.data
        for file in files:
            self.blobs[file["token"]].used = True
        return taken

    def create_dataset(self, body: Reply) -> Reply:
        ref = f"{body['ownerSlug']}/{body['slug']}"
        if ref in self.datasets:
            return {
                "status": "error",
                "error": f'The requested title "{body["title"]}" is already in use by a dataset.',
            }
        versions = [self.take_blobs(body.get("files", []))]
        dataset = Dataset(
            body["ownerSlug"], body["slug"], body["title"], body["licenseName"], body.get("isPrivate", False), versions
        )
        return self.made(dataset, "first")

    def create_dataset_version(self, body: Reply) -> Reply:
        dataset = self.dataset(body)
        dataset.versions.append(self.take_blobs(body["body"].get("files", [])))
        return self.made(dataset, body["body"].get("versionNotes", ""))

    def made(self, dataset: Dataset, note: str) -> Reply:
        ref = f"{dataset.owner}/{dataset.slug}"
        self.datasets[ref] = dataset
        dataset.notes.append(note)
        dataset.states, dataset.empty_listings = list(self.dataset_states), self.empty_listings
        if dataset.states[-1] == "FAILED":
            dataset.failed.append(len(dataset.versions) - 1)
        return {"status": "ok", "ref": ref, "url": f"https://www.kaggle.com/datasets/{ref}"}

    def dataset(self, body: Reply) -> Dataset:
        slug = body.get("datasetSlug") or body.get("slug")
        dataset = self.datasets.get(f"{body.get('ownerSlug')}/{slug}")
        if dataset is None:
            raise Refusal(self.absent_dataset_status, "Dataset not found")
        return dataset

    def visible_versions(self, dataset: Dataset) -> int:
        """A version that is still processed is not there yet."""
        versions = len(dataset.versions) - (dataset.states[0] != "READY")
        if not versions and self.hides_first_version:
            raise Refusal(403, "Permission 'datasets.get' was denied")
        return max(versions, 1)

    def get_dataset_status(self, body: Reply) -> Reply:
        dataset = self.dataset(body)
        if len(dataset.versions) == 1 and dataset.states[0] == "403":
            dataset.states.pop(0)
            raise Refusal(403, "Permission 'datasets.get' was denied")
        state = dataset.states.pop(0) if len(dataset.states) > 1 else dataset.states[0]
        return {"status": "READY" if state == "STALE" else state}

    def get_dataset(self, body: Reply) -> Reply:
        dataset = self.dataset(body)
        ref = f"{dataset.owner}/{dataset.slug}"
        return {"ref": ref, "isPrivate": dataset.private, "currentVersionNumber": self.visible_versions(dataset)}

    def list_dataset_files(self, body: Reply) -> Reply:
        dataset = self.dataset(body)
        number = body.get("datasetVersionNumber") or self.visible_versions(dataset)
        if number > len(dataset.versions):
            raise Refusal(404, "no such version")
        files = dataset.versions[number - 1]
        if dataset.empty_listings:
            dataset.empty_listings -= 1
            files = {}
        page, token = self.paged(sorted(files), body)
        listed = [{"name": n, "totalBytes": len(files[n]), "creationDate": "2026-11-24T10:00:00Z"} for n in page]
        return {"datasetFiles": listed, "nextPageToken": token}

    def download_dataset(self, body: Reply) -> str:
        dataset = self.dataset(body)
        files = dataset.versions[(body.get("datasetVersionNumber") or self.visible_versions(dataset)) - 1]
        if body.get("fileName") not in files:
            raise Refusal(404, "no such file")
        return self.publish(f"dataset/{dataset.slug}/{body['fileName']}", files[body["fileName"]])

    # Competition.

    def need_rules(self, body: Reply) -> str:
        slug = body["competitionName"]
        if slug not in self.competitions:
            raise Refusal(404, "Competition not found")
        if not self.rules_accepted:
            raise Refusal(403, "You must accept this competition's rules before you can continue")
        return slug

    def list_data_files(self, body: Reply) -> Reply:
        files = self.competitions[self.need_rules(body)]
        page, token = self.paged(sorted(files), body)
        return {"files": [{"name": name, "totalBytes": len(files[name])} for name in page], "nextPageToken": token}

    def download_data_files(self, body: Reply) -> str:
        slug = self.need_rules(body)
        if slug not in self.archives:
            self.archives[slug] = zipped(self.competitions[slug])
        return self.publish(f"archive/{slug}.zip", self.archives[slug])

    def create_code_submission(self, body: Reply) -> Reply:
        self.need_rules(body)
        ref = f"{body['kernelOwner']}/{body['kernelSlug']}"
        kernel = self.kernels.get(ref)
        if kernel is None or not 1 <= body.get("kernelVersion", 0) <= len(kernel.versions):
            raise Refusal(404, "Kernel version not found")
        if body.get("fileName") not in self.outputs.get(kernel.slug, {}):
            raise Refusal(400, "Submission CSV Not Found")
        if len(self.submissions) >= self.submissions_a_day:
            raise Refusal(400, "You have reached the limit of submissions for today")
        number = 100 + len(self.submissions)
        entry = {
            "ref": number,
            "date": f"2026-11-24T11:00:{len(self.submissions):02d}Z",
            "status": "PENDING",
            "fileName": body["fileName"],
            "description": body.get("submissionDescription", ""),
            "polls": 0,
            "kernel": [ref, body["kernelVersion"]],
        }
        self.submissions.append(entry)
        return {"message": "ok", "ref": number}

    def get_submission_limits(self, body: Reply) -> Reply:
        made = len(self.submissions)
        return {"numToday": made, "numTotal": made, "numAllowedNow": max(0, self.submissions_a_day - made)}

    def list_submissions(self, body: Reply) -> Reply:
        self.need_rules(body)
        for entry in self.submissions:
            entry["polls"] += 1
            if entry["status"] == "PENDING" and entry["polls"] > self.polls_until_scored:
                entry |= {"status": "COMPLETE", "publicScore": self.scores[0], "privateScore": self.scores[1]}
        page, token = self.paged([dict(entry) for entry in reversed(self.submissions)], body)
        return {"submissions": page, "nextPageToken": token}

    # Helpers.

    caller = ""  # who sent the request at hand

    def paged(self, entries: list[Any], body: Reply) -> tuple[list[Any], str]:
        start = int(body.get("pageToken") or 0)
        end = start + min(body.get("pageSize") or 20, self.page_size)
        return entries[start:end], str(end) if end < len(entries) else ""

    def publish(self, path: str, data: bytes) -> str:
        number = hashlib.sha256(path.encode()).hexdigest()[:12]
        name = f"/file/{number}/{slugify(path.rpartition('/')[2])}"
        self.files[name] = data
        return f"{STORE}{name}?signature=secret-{number}"

    def summary(self) -> Reply:
        """Count what must never be there twice."""
        return {
            "datasets": {ref: len(dataset.versions) for ref, dataset in self.datasets.items()},
            "kernels": {ref: len(kernel.versions) for ref, kernel in self.kernels.items()},
            "submissions": [{k: v for k, v in entry.items() if k != "polls"} for entry in self.submissions],
        }


def _without(entries: list[str], gone: list[str]) -> list[str]:
    return [entry for entry in entries if entry not in gone]


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def zipped(files: dict[str, bytes]) -> bytes:
    import io
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(name, data)
    return target.getvalue()


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
        self.serve("GET", urlsplit(self.path).path, None, self.send_file)

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
