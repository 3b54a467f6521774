"""What Kaggle knows, for the stand-in: datasets, kernels, runs, submissions, and what each request does to them."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

STORE = "http://store.localhost"  # uploads and downloads lie on another host than the API
Reply = dict[str, Any]


class Refusal(Exception):
    """The site answers with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


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


@dataclass(frozen=True)
class Stream:
    """What one connection to the live log brings: by default every event, then END_OF_LOG."""

    first: int = 0  # the events from here on
    last: int | None = None  # and up to here
    end: str = "end"  # end: END_OF_LOG; break: the connection breaks; close: the answer just ends
    hold_s: float = 0.0  # nothing for so long, before it ends
    of_version: int = 0  # whatever was asked for
    raw: str | None = None  # sent instead of events
    kind: str = "text/event-stream"
    status: int = 200
    chunked: bool = True


@dataclass
class Kernel:
    """A kernel with all its versions and the run of the newest."""

    owner: str
    slug: str
    versions: list[Reply]  # the SaveKernel requests
    states: list[str] = field(default_factory=list)
    earlier: dict[int, list[str]] = field(default_factory=dict)  # states of versions that are no longer the newest


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
        self.version_outputs: dict[tuple[str, int], dict[str, bytes]] = {}  # where a version's are not the newest's
        self.version_logs: dict[tuple[str, int], str] = {}
        self.version_states: dict[int, list[str]] = {}  # of the version with this number, once it is saved
        self.label_status = 0  # HTTP code that refuses every version label; 0: labels are known
        self.streams: list[Stream] = []  # of the next connections to a live log, one each; then as Kaggle does
        self.stream_knows_labels = True
        self.waits_for_streams = False  # a run goes on while there are some, for a while
        self.waited = 0
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
        self.saved: list[str] = []  # refs of the kernels, the one that was saved last at the end
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
        self.saved = [*(ref for ref in self.saved if ref != body["slug"]), body["slug"]]
        kernel.earlier[len(kernel.versions)] = kernel.states
        kernel.versions.append(body | {"datasetDataSources": _without(body.get("datasetDataSources", []), gone)})
        number = len(kernel.versions)
        kernel.states = list(self.version_states.get(number, self.kernel_states))
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

    def version_of(self, kernel: Kernel, body: Reply) -> int:
        """Which version a request means: that of its label, `v<N>` and nothing else, or the newest."""
        name = body.get("versionLabel")
        if name is None:
            return len(kernel.versions)
        if self.label_status:
            raise Refusal(self.label_status, "Unknown version label")
        found = re.fullmatch(r"v([1-9]\d*)", name)
        if not found or int(found[1]) > len(kernel.versions):
            raise Refusal(404, "Version not found")
        return int(found[1])

    def get_kernel_session_status(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        states = kernel.earlier.get(self.version_of(kernel, body), kernel.states)
        waits = self.waits_for_streams and self.streams and states[0] == "RUNNING" and self.waited < 500
        self.waited += bool(waits)
        state = states[0] if len(states) == 1 or waits else states.pop(0)
        return {"status": state} | ({"failureMessage": self.failure} if state == "ERROR" else {})

    def get_kernel(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        newest = kernel.versions[self.version_of(kernel, body) - 1]
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
        self.kernels[ref].earlier[len(versions)] = list(self.kernels[ref].states)
        versions.append(versions[-1] | {"text": source})

    def list_kernel_session_output(self, body: Reply) -> Reply:
        kernel = self.kernel(body)
        key = kernel.slug, self.version_of(kernel, body)
        outputs = self.version_outputs.get(key, self.outputs.get(kernel.slug, {}))
        page, token = self.paged(sorted(outputs), body)
        files = []
        for name in page:
            place = f"output/{kernel.slug}/{f'v{key[1]}/' if key in self.version_outputs else ''}{name}"
            files.append({"fileName": name, "url": self.publish(place, outputs[name])})
        log = self.version_logs.get(key, self.logs.get(kernel.slug, ""))
        return {"files": files, "log": log, "nextPageToken": token}

    def open_log(self, owner: str, slug: str, name: str | None) -> tuple[Stream, list[Reply], bool]:
        """Return what this connection brings, of which events, and whether they are sent or stored."""
        kernel = self.kernel({"userName": owner, "kernelSlug": slug})
        number = self.version_of(kernel, {"versionLabel": name} if self.stream_knows_labels else {})
        is_there = name == f"v{number}"
        stream = self.streams.pop(0) if self.streams and is_there else Stream()
        number = stream.of_version or number
        states = kernel.earlier.get(number, kernel.states)
        return stream, self.log_events(slug, number), states[0] not in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")

    def log_events(self, slug: str, number: int) -> list[Reply]:
        log = self.version_logs.get((slug, number), self.logs.get(slug, ""))
        try:
            return list(json.loads(log))
        except ValueError:
            return [{"stream_name": "stdout", "time": 1.0, "data": log}] if log else []

    def list_kernels(self, body: Reply) -> Reply:
        """Those of the caller, the one that was saved last first."""
        refs = [ref for ref in reversed(self.saved) if self.kernels[ref].owner == self.caller]
        page, token = self.paged(refs, body)
        return {"kernels": [{"ref": ref, "slug": ref.partition("/")[2]} for ref in page], "nextPageToken": token}

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


def zipped(files: dict[str, bytes]) -> bytes:
    import io
    import zipfile

    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(name, data)
    return target.getvalue()
