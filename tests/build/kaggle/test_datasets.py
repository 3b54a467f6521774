"""A folder becomes a dataset once, whole, and nobody starts before it is there."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from build.core.bundle_files import file_entry
from build.core.errors import CheckFailed, UsageError
from build.kaggle import datasets
from build.kaggle.dataset_folders import OWN_MANIFEST, stage_dataset
from build.kaggle.datasets import push_dataset
from build.kaggle.journal import Journal
from kernel_src.runtime.files import write_json

SLUG = "i2b-toy-weights"
REF = f"kim/{SLUG}"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(make_folder) -> Path:
    folder = make_folder("bundle", {"fold0.safetensors": b"w" * 3000, "oof.csv": b"a,b\n", "config.json": b"{}"})
    seal(folder)
    return folder


@pytest.fixture
def push(kaggle, tmp_path: Path) -> Callable[[Path], datasets.PushedDataset]:
    """Push a folder as a command of its own would, the journal opened anew."""

    def run(folder: Path, **options: float) -> datasets.PushedDataset:
        journal = Journal(tmp_path / "out/push/journal.db")
        try:
            return push_dataset(stage_dataset(SLUG, folder, kaggle.username), kaggle, journal, **options)
        finally:
            journal.close()

    return run


def seal(folder: Path) -> None:
    files = {file.name: file_entry(file) for file in sorted(folder.iterdir()) if file.name != "manifest.json"}
    write_json(folder / "manifest.json", {"format": 1, "dataset": SLUG, "files": files})


def content(site, version: int = -1) -> dict[str, bytes]:
    return site.datasets[REF].versions[version]


def test_a_new_dataset_is_private_with_one_licence_and_exactly_the_files(push, server, site, bundle) -> None:
    pushed = push(bundle)
    assert (pushed.outcome, pushed.version, pushed.ref) == ("created", 1, REF)
    assert content(site) == {file.name: file.read_bytes() for file in bundle.iterdir()}
    sent = server.bodies("CreateDataset")[0]
    assert sent["isPrivate"] is True and sent["licenseName"] == "other" and sent["ownerSlug"] == "kim"


def test_the_same_bytes_are_not_sent_again(push, server, site, bundle) -> None:
    push(bundle)
    server.log.clear()
    assert push(bundle).outcome == "already there"
    assert not {"StartBlobUpload", "PUT", "CreateDatasetVersion"} & set(server.names())


def test_a_teammates_push_of_the_same_bytes_is_enough(push, server, site, bundle, tmp_path: Path) -> None:
    push(bundle)
    (tmp_path / "out/push/journal.db").unlink()  # another checkout knows nothing
    assert push(bundle).outcome == "already there" and site.summary()["datasets"] == {REF: 1}


def test_other_bytes_make_a_new_version_that_replaces_all_files(push, site, bundle) -> None:
    push(bundle)
    (bundle / "oof.csv").unlink()
    (bundle / "fold0.safetensors").write_bytes(b"v" * 3000)  # the same size
    seal(bundle)
    pushed = push(bundle)
    assert (pushed.outcome, pushed.version) == ("new version", 2)
    assert set(content(site)) == {"fold0.safetensors", "config.json", "manifest.json"}
    assert content(site)["fold0.safetensors"] == b"v" * 3000


def test_equal_sizes_with_other_hashes_are_not_taken_for_equal(push, site, bundle) -> None:
    push(bundle)
    content(site)["manifest.json"] = content(site)["manifest.json"].replace(b'"sha256": "', b'"sha256": "0')[
        : -0 or None
    ]
    there = content(site)["manifest.json"]
    content(site)["manifest.json"] = there[: (bundle / "manifest.json").stat().st_size]
    assert push(bundle).outcome == "new version"


def test_a_manifest_alone_does_not_vouch_for_files_of_another_size(push, site, bundle) -> None:
    push(bundle)
    content(site)["fold0.safetensors"] = b"w" * 2999
    assert push(bundle).outcome == "new version"


class TestWaiting:
    def test_every_state_before_ready_is_waited_for_in_any_order(self, push, server, site, bundle) -> None:
        site.dataset_states = ["403", "BLOBS_RECEIVED", "READY", "REPROCESSING", "BLOBS_RECEIVED", "READY"]
        site.empty_listings = 1
        assert push(bundle).version == 1
        assert server.names().count("GetDatasetStatus") >= 5

    def test_ready_without_files_is_not_ready(self, push, server, site, bundle) -> None:
        site.empty_listings = 4
        assert push(bundle).version == 1
        assert server.names().count("ListDatasetFiles") == 5

    def test_a_new_version_that_shows_late_is_waited_for(self, push, site, bundle) -> None:
        push(bundle)
        site.dataset_states = ["BLOBS_RECEIVED", "BLOBS_RECEIVED", "READY"]
        (bundle / "config.json").write_text("[]")
        seal(bundle)
        assert push(bundle).version == 2

    def test_processing_that_fails_is_said_and_the_next_push_makes_a_version(self, push, site, bundle) -> None:
        site.dataset_states = ["BLOBS_RECEIVED", "FAILED"]
        with pytest.raises(CheckFailed, match="could not process"):
            push(bundle)
        site.dataset_states = ["READY"]
        assert push(bundle).outcome in ("created", "new version")

    def test_processing_without_end_is_given_up_and_gone_on_with_later(self, push, server, site, bundle) -> None:
        site.dataset_states = ["BLOBS_RECEIVED"]
        with pytest.raises(CheckFailed, match="still BLOBS_RECEIVED after.*continues to wait"):
            push(bundle, limit_s=0.2)
        site.datasets[REF].states = ["READY"]
        assert push(bundle).outcome == "already there" and site.summary()["datasets"] == {REF: 1}

    def test_somebody_elses_version_in_process_is_waited_for_first(self, push, site, bundle) -> None:
        push(bundle)
        site.datasets[REF].states = ["BLOBS_RECEIVED", "READY"]
        assert push(bundle).outcome == "already there"


class TestPartialDatasets:
    def test_a_dataset_that_lacks_a_file_is_found_out_and_made_whole(self, push, site, bundle) -> None:
        site.loses_files = ["oof.csv"]
        with pytest.raises(CheckFailed, match="calls the dataset ready, but oof.csv is missing"):
            push(bundle)
        site.loses_files = []
        assert push(bundle).outcome == "new version"
        assert "oof.csv" in content(site)

    @pytest.mark.parametrize("status", [400, 403, 500])
    def test_a_file_that_does_not_go_up_stops_before_the_dataset_is_touched(
        self, push, server, site, bundle, status: int
    ) -> None:
        push(bundle)
        (bundle / "config.json").write_text("[1]")
        seal(bundle)
        server.fault("PUT", nth=2, status=status, times=99)
        with pytest.raises(CheckFailed):
            push(bundle)
        assert site.summary()["datasets"] == {REF: 1}
        server.faults.clear()
        assert push(bundle).version == 2

    def test_a_truncated_upload_never_becomes_a_dataset(self, push, server, site, bundle) -> None:
        server.fault("PUT", keep_bytes=100, times=99)
        with pytest.raises(CheckFailed):
            push(bundle)
        assert site.summary()["datasets"] == {}


class TestLostAnswers:
    FAULTS = (
        {"drop": "after"},
        {"status": 429},
        {"status": 503},
        {"status": 500, "after": True},
        {"cut_bytes": 2},
    )

    @pytest.mark.parametrize("fault", FAULTS, ids=str)
    def test_one_dataset(self, push, server, site, bundle, fault: dict) -> None:
        server.fault("CreateDataset", **fault)
        assert push(bundle).outcome == "created" and site.summary()["datasets"] == {REF: 1}

    @pytest.mark.parametrize("fault", FAULTS, ids=str)
    def test_one_new_version(self, push, server, site, bundle, fault: dict) -> None:
        push(bundle)
        (bundle / "config.json").write_text("[1]")
        seal(bundle)
        server.fault("CreateDatasetVersion", **fault)
        assert push(bundle).version == 2 and site.summary()["datasets"] == {REF: 2}

    def test_a_first_version_that_hides_behind_403_is_not_made_twice(self, push, server, site, bundle) -> None:
        site.dataset_states = ["403"] * 5 + ["BLOBS_RECEIVED", "READY"]
        server.fault("CreateDataset", drop="after")
        assert push(bundle).outcome == "created"
        assert site.summary()["datasets"] == {REF: 1}

    def test_an_error_in_the_body_is_told_and_nothing_repeated(self, push, server, bundle) -> None:
        server.fault("CreateDataset", body={"status": "error", "error": "Incompatible License"})
        with pytest.raises(CheckFailed, match="Incompatible License"):
            push(bundle)
        assert server.names().count("CreateDataset") == 1

    @pytest.mark.parametrize(
        "fault", [{"status": 409}, {"body": {"error": 'The title "x" is already in use'}}], ids=str
    )
    def test_a_title_in_use_is_explained(self, push, server, bundle, fault: dict) -> None:
        server.fault("CreateDataset", **fault)
        with pytest.raises(CheckFailed, match="already in use.*rename"):
            push(bundle)


class TestFolders:
    def refusals(self, folder: Path) -> str:
        with pytest.raises(CheckFailed) as failed:
            stage_dataset("i2b-toy-data", folder, "kim")
        return str(failed.value)

    def test_every_reason_is_told_at_once(self, make_folder) -> None:
        files = {
            "a.zip": b"1",
            "b.tar.gz": b"1",
            "c.gz": b"1",
            "empty.csv": b"",
            "käse.csv": b"1",
            "kernel-metadata.json": b"{}",
        }
        folder = make_folder("bad", files | {"Twin.csv": b"1", "twin.csv": b"1"})
        (folder / "train").mkdir()
        text = self.refusals(folder)
        for part in (
            "a.zip: an archive",
            "b.tar.gz: an archive",
            "c.gz: an archive",
            "empty.csv: empty",
            "käse.csv: a name",
        ):
            assert part in text
        for part in (
            "train: a folder",
            "kernel-metadata.json: Kaggle's client never",
            "twin.csv: differs from Twin.csv",
        ):
            assert part in text

    def test_more_than_fifty_files_are_refused(self, make_folder) -> None:
        assert "51 files; Kaggle takes 50" in self.refusals(make_folder("many", {f"f{n}.csv": b"1" for n in range(51)}))

    def test_an_empty_folder_and_none_at_all_are_refused(self, make_folder, tmp_path: Path) -> None:
        assert "nothing to upload" in self.refusals(make_folder("none", {}))
        with pytest.raises(UsageError, match="is not a folder"):
            stage_dataset("i2b-toy-data", tmp_path / "nowhere", "kim")

    @pytest.mark.parametrize("slug", ["short", "Upper-Case-Slug", "../../etc/passwd", "x" * 51, "owner/i2b-toy-data"])
    def test_a_slug_that_kaggle_would_refuse_writes_nothing(self, make_folder, tmp_path: Path, slug: str) -> None:
        folder = make_folder("data", {"a.csv": b"1"})
        with pytest.raises(CheckFailed):
            stage_dataset(slug, folder, "kim")
        assert not (tmp_path / "out").exists()

    def test_a_bundle_that_contradicts_its_manifest_is_not_uploaded(self, bundle) -> None:
        (bundle / "fold0.safetensors").write_bytes(b"x" * 3000)
        assert "fold0.safetensors has another sha256" in self.refusals(bundle)

    def test_a_file_that_the_manifest_does_not_list_is_not_slipped_in(self, bundle) -> None:
        (bundle / "notes.txt").write_text("hello")
        assert "does not list notes.txt" in self.refusals(bundle)

    def test_the_owner_is_filled_in_and_the_source_stays_as_it_is(self, make_folder) -> None:
        metadata = {
            "id": "OWNER/i2b-toy-data",
            "title": "Toy data",
            "licenses": [{"name": "CC0-1.0"}],
            "isPrivate": True,
        }
        text = json.dumps(metadata).encode()
        folder = make_folder("data", {"a.csv": b"1", "dataset-metadata.json": text})
        staged = stage_dataset("i2b-toy-data", folder, "kim")
        sent = json.loads((staged.folder / "dataset-metadata.json").read_text())
        assert sent == metadata | {"id": "kim/i2b-toy-data"}
        assert (folder / "dataset-metadata.json").read_bytes() == text
        assert sorted(staged.sizes) == ["a.csv", OWN_MANIFEST]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"id": "ann/i2b-toy-data"}, "belongs to ann"),
            ({"id": "OWNER/i2b-other"}, "describes the dataset i2b-other"),
            ({"licenses": []}, "exactly one"),
            ({"licenses": [{"name": "a"}, {"name": "b"}]}, "exactly one"),
            ({"isPrivate": False}, "isPrivate is not true"),
            ({"title": "short"}, "5 characters"),
        ],
    )
    def test_a_description_that_kaggle_would_refuse_is_refused_here(
        self, make_folder, change: dict, message: str
    ) -> None:
        metadata = {
            "id": "OWNER/i2b-toy-data",
            "title": "Toy data",
            "licenses": [{"name": "CC0-1.0"}],
            "isPrivate": True,
        }
        folder = make_folder("d", {"a.csv": b"1", "dataset-metadata.json": json.dumps(metadata | change).encode()})
        assert message in self.refusals(folder)

    def test_hidden_files_stay_here_and_are_named(self, make_folder) -> None:
        staged = stage_dataset("i2b-toy-data", make_folder("data", {"a.csv": b"1", ".DS_Store": b"1"}), "kim")
        assert staged.left_out == (".DS_Store",) and ".DS_Store" not in staged.sizes

    def test_a_folder_without_manifest_gets_one_and_is_skipped_the_second_time(
        self, kaggle, site, make_folder, tmp_path
    ) -> None:
        folder = make_folder("data", {"a.csv": b"1,2", "manifest.json": b'{"somebody": "else"}'})
        journal = Journal(tmp_path / "journal.db")
        first = datasets.push_folder("i2b-toy-data", folder, kaggle, journal)
        second = datasets.push_folder("i2b-toy-data", folder, kaggle, journal)
        assert first.startswith("created") and second.startswith("already there")
        assert not (folder / OWN_MANIFEST).exists()
        (folder / "a.csv").write_bytes(b"3,4")
        assert datasets.push_folder("i2b-toy-data", folder, kaggle, journal).startswith("new version")


class TestUploads:
    SIZE = 2_000_000

    @pytest.fixture
    def big(self, make_folder) -> Path:
        return make_folder("big", {"big.bin": bytes(range(250)) * (self.SIZE // 250)})

    def puts(self, server) -> list:
        return [seen for seen in server.log if seen.name == "PUT"]

    @pytest.mark.parametrize("fault", [{"status": 503}, {}], ids=["503 then 308", "dropped"])
    def test_a_broken_upload_goes_on_at_the_byte(self, push, server, site, big, fault: dict) -> None:
        server.fault("PUT", keep_bytes=1_234_567, **fault)
        push(big)
        asked, rest = self.puts(server)[1:3]
        assert asked.headers["Content-Range"] == f"bytes */{self.SIZE}" and asked.body == 0
        assert rest.headers["Content-Range"] == f"bytes 1234567-{self.SIZE - 1}/{self.SIZE}"
        assert rest.body == self.SIZE - 1_234_567
        assert content(site)["big.bin"] == (big / "big.bin").read_bytes()

    def test_the_next_run_goes_on_where_this_one_gave_up(self, push, server, site, big) -> None:
        server.fault("PUT", keep_bytes=1_000_000)
        server.fault("PUT", status=503, nth=2, times=20)
        with pytest.raises(CheckFailed, match="503"):
            push(big)
        server.faults.clear()
        server.log.clear()
        assert "ready with 2 files, 2.0 MB (1.0 MB of them sent by an earlier run)" in str(push(big))
        sent = [
            seen.body
            for seen in self.puts(server)
            if seen.headers.get("Content-Range", "").startswith("bytes 1000000-")
        ]
        assert sent == [self.SIZE - 1_000_000]
        assert content(site)["big.bin"] == (big / "big.bin").read_bytes()

    def test_other_bytes_of_the_same_size_and_time_do_not_continue_an_upload(self, push, server, site, big) -> None:
        import os

        path = big / "big.bin"
        before = path.stat()
        server.fault("PUT", keep_bytes=1_000_000)
        server.fault("PUT", status=503, nth=2, times=20)
        with pytest.raises(CheckFailed):
            push(big)
        server.faults.clear()
        path.write_bytes(b"z" * self.SIZE)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        push(big)
        assert content(site)["big.bin"] == b"z" * self.SIZE

    def test_an_upload_that_the_store_forgot_starts_anew(self, push, server, site, big) -> None:
        server.fault("PUT", keep_bytes=10)
        server.fault("PUT", status=503, nth=2, times=20)
        with pytest.raises(CheckFailed):
            push(big)
        server.faults.clear()
        site.blobs.clear()
        push(big)
        assert content(site)["big.bin"] == (big / "big.bin").read_bytes()

    def test_notes_of_uploads_are_private_and_gone_at_the_end(self, push, server, big, tmp_path: Path) -> None:
        seen = []

        def look(phase: str, n: int, name: str) -> None:
            if name == "PUT" and phase == "before":
                seen.extend(
                    (p.name, stat.S_IMODE(p.stat().st_mode)) for p in (tmp_path / "out/push/uploads").glob("*.json")
                )

        server.hook = look
        push(big)
        assert seen and {mode for _, mode in seen} == {0o600}
        assert not list((tmp_path / "out/push/uploads").iterdir())

    def test_uploads_carry_no_credentials_and_use_no_netrc(self, push, server, big, home: Path) -> None:
        (home / ".netrc").write_text("machine store.localhost login kim password secret-of-netrc\n")
        push(big)
        assert server.leaks == []
        assert not any("Authorization" in seen.headers for seen in self.puts(server))

    def test_a_file_that_changes_while_it_is_sent_is_not_published(self, push, server, site, big) -> None:
        def rewrite(phase: str, n: int, name: str) -> None:
            if name == "StartBlobUpload" and phase == "after":
                (big / "big.bin").write_bytes(b"y" * self.SIZE)

        server.hook = rewrite
        with pytest.raises(CheckFailed, match="changed"):
            push(big)
        assert site.summary()["datasets"] == {}
