"""Nothing leaves but to Kaggle, encrypted and verified; no credential shows anywhere."""

import re
from pathlib import Path

import pytest
import requests

from build.core import credentials, foreign_text
from build.core.errors import CheckFailed, UsageError
from build.kaggle import explain
from build.kaggle.wire import guard, open_session

ROOT = Path(__file__).resolve().parents[3]
MARKER = "MARKER-9f2c-secret"


def write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def no_variables(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")


def sign_in():
    from build.kaggle.client import open_client

    return open_client()


class TestSigningIn:
    def test_no_credentials_is_a_message_not_an_exit_of_the_client(self, no_variables, server, capsys) -> None:
        with pytest.raises(CheckFailed, match="no credentials for Kaggle.*settings/api"):
            sign_in()
        assert server.log == [] and capsys.readouterr() == ("", "")

    def test_a_token_signs_in(self, no_variables, server, site, monkeypatch: pytest.MonkeyPatch) -> None:
        site.tokens = {MARKER: "ann"}
        monkeypatch.setenv("KAGGLE_API_TOKEN", MARKER)
        kaggle = sign_in()
        assert kaggle.username == "ann"
        kaggle.quota()
        assert server.log[-1].headers["Authorization"] == f"Bearer {MARKER}"

    def test_a_token_in_a_file_comes_before_the_key(self, server, site, home: Path) -> None:
        site.tokens = {MARKER: "ann"}
        write(home / ".kaggle/access_token", MARKER)
        assert sign_in().username == "ann"

    def test_the_key_file_signs_in(self, no_variables, site, home: Path) -> None:
        site.keys["bob"] = MARKER
        write(home / ".kaggle/kaggle.json", f'{{"username": "bob", "key": "{MARKER}"}}')
        kaggle = sign_in()
        assert kaggle.username == "bob"
        kaggle.quota()

    @pytest.mark.parametrize("inactive_status", [0, 400, 401, 403])
    def test_a_stale_token_over_a_good_key_is_named_with_the_cure(
        self, server, site, home: Path, inactive_status: int
    ) -> None:
        site.inactive_status = inactive_status
        path = write(home / ".kaggle/access_token", MARKER)
        with pytest.raises(CheckFailed) as failed:
            sign_in()
        text = str(failed.value)
        assert f"token from {path} (401)" in text and "precedence over the key from KAGGLE_USERNAME" in text
        assert f"remove {path}" in text and MARKER not in text

    def test_a_token_that_expires_on_the_way_is_named(self, no_variables, server, site, home: Path) -> None:
        site.tokens = {MARKER: "ann"}
        write(home / ".kaggle/access_token", MARKER)
        kaggle = sign_in()
        site.tokens.clear()
        with pytest.raises(CheckFailed, match="does not accept the token.*expired, revoked"):
            kaggle.quota()

    def test_a_wrong_key_is_named(self, server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KAGGLE_KEY", MARKER)
        with pytest.raises(CheckFailed) as failed:
            sign_in().quota()
        assert "key from KAGGLE_USERNAME and KAGGLE_KEY (401)" in str(failed.value) and MARKER not in str(failed.value)

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
    @pytest.mark.parametrize("name", ["kaggle.json", "access_token", "credentials.json"])
    def test_a_file_that_others_can_read_is_refused_before_any_request(
        self, server, home: Path, name: str, mode: int
    ) -> None:
        path = write(home / ".kaggle" / name, '{"username": "bob", "key": "k"}', mode)
        with pytest.raises(CheckFailed, match=f"mode {mode:o}.*chmod 600 {path}"):
            sign_in()
        assert server.log == []

    def test_a_variable_that_the_client_takes_for_a_token_is_not_sent(self, server, monkeypatch) -> None:
        monkeypatch.setenv("KAGGLE_TOKEN", MARKER)
        sign_in().quota()
        assert server.log[-1].headers["Authorization"].startswith("Basic ")

    @pytest.mark.parametrize("environment", ["TEST", "STAGING", "ADMIN", "QA", "localhost"])
    def test_other_environments_are_refused(self, server, monkeypatch, environment: str) -> None:
        monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", environment)
        with pytest.raises(UsageError, match="production"):
            sign_in()

    def test_a_site_that_cannot_be_reached_is_no_traceback(self, no_variables, server, home: Path) -> None:
        write(home / ".kaggle/access_token", MARKER)
        server.fault("IntrospectToken", drop="before", times=99)
        with pytest.raises(CheckFailed, match="cannot be reached"):
            sign_in()


class TestSources:
    def test_they_come_in_the_clients_order(self, clean_environment, home: Path, monkeypatch) -> None:
        monkeypatch.setenv("KAGGLE_API_TOKEN", MARKER)
        write(home / ".kaggle/access_token", "t")
        write(home / ".kaggle/kaggle.json", '{"username": "bob", "key": "kkkkkk"}')
        write(home / ".kaggle/credentials.json", '{"refresh_token": "rrrrrr"}')
        sources = credentials.find_sources()
        assert [source.kind for source in sources] == ["token", "token", "key", "login"]
        assert MARKER not in repr(sources)
        assert credentials.secrets() == {MARKER, "kkkkkk", "rrrrrr"}

    def test_a_variable_that_names_a_file_is_no_secret_itself(self, clean_environment, home: Path, monkeypatch) -> None:
        path = write(home / "token.txt", MARKER)
        monkeypatch.setenv("KAGGLE_API_TOKEN", str(path))
        assert credentials.secrets() == {MARKER}
        path.chmod(0o644)
        assert len(credentials.mode_problems()) == 1

    def test_broken_files_are_none(self, clean_environment, home: Path) -> None:
        for text in ("", "{", "[1]", '"x"', '{"username": "bob"}'):
            write(home / ".kaggle/kaggle.json", text)
            assert credentials.find_sources() == []

    def test_the_folder_of_the_key_file_is_the_clients(self, clean_environment, home: Path, monkeypatch) -> None:
        assert credentials.config_folder() == home / ".config/kaggle"
        (home / ".kaggle").mkdir()
        assert credentials.config_folder() == home / ".kaggle"
        monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(home / "x"))
        assert credentials.config_folder() == home / "x"


class TestGuard:
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_a_redirect_never_carries_what_we_send_to_another_host(
        self, kaggle, server, tmp_path: Path, status: int
    ) -> None:
        server.fault(
            "GetAcceleratorQuotaStatistics", status=status, headers={"Location": "http://store.localhost/steal"}
        )
        with pytest.raises(CheckFailed):
            kaggle.quota()
        assert all(seen.name != "steal" for seen in server.log if seen.body is not None)
        assert server.leaks == []

    @pytest.mark.parametrize(
        "address", ["http://evil.example/x", "ftp://localhost/x", "http://localhost.evil.example/x"]
    )
    def test_addresses_outside_are_not_asked(self, server, address: str) -> None:
        with pytest.raises((CheckFailed, requests.exceptions.InvalidSchema)):
            open_session().get(address)
        assert server.log == []

    @pytest.mark.parametrize("address", ["http://api.kaggle.com/v1/x", "http://storage.googleapis.com/x"])
    def test_production_is_encrypted_or_not_at_all(self, clean_environment, address: str) -> None:
        for send in (open_session().get, open_session().put):
            with pytest.raises(CheckFailed, match="not encrypted"):
                send(address)

    def test_switched_off_verification_is_refused(self, clean_environment) -> None:
        with pytest.raises(CheckFailed, match="verification of certificates"):
            guard(requests.Session()).get("https://api.kaggle.com/v1/x", verify=False)

    def test_no_line_of_ours_switches_verification_off(self) -> None:
        texts = {path: path.read_text() for path in (ROOT / "build").rglob("*.py")}
        assert texts
        found = [path for path, text in texts.items() if re.search(r"verify\s*=\s*False|CERT_NONE|_unverified_", text)]
        assert found == []

    def test_only_one_package_is_imported_and_only_behind_the_client(self) -> None:
        found = {
            path.name
            for path in (ROOT / "build").rglob("*.py")
            if re.search(r"^\s*(from|import) (kaggle|kagglesdk)\b", path.read_text(), re.M)
        }
        requests_py = {f"{kind}_requests.py" for kind in ("kernel", "dataset", "competition")}
        assert found <= requests_py | {"client.py", "session.py"}


class TestMessages:
    def test_kaggles_own_words_lose_credentials_and_signatures(self, clean_environment, monkeypatch) -> None:
        monkeypatch.setenv("KAGGLE_KEY", MARKER)
        text = foreign_text.redact(
            f"no {MARKER} at https://store/x?sig=abc&t=1 /upload/y?signature=zz Bearer abcdef.123 ok"
        )
        assert MARKER not in text and "signature" not in text
        assert "abc&t" not in text and "zz" not in text and "abcdef" not in text and text.endswith("ok")

    def test_a_long_page_is_cut(self) -> None:
        assert len(explain.quote(ValueError("x\n" * 1000))) <= explain.LONGEST_QUOTE

    def test_a_verbose_client_prints_no_header(self, server, monkeypatch, capfd) -> None:
        monkeypatch.setenv("VERBOSE", "true")
        sign_in().quota()
        assert "Authorization" not in "".join(capfd.readouterr())

    def test_an_echoed_key_does_not_reach_the_message(self, kaggle, server) -> None:
        key = server.site.keys["kim"]
        server.fault("GetAcceleratorQuotaStatistics", status=400, body={"code": 400, "message": f"bad key {key}"})
        with pytest.raises(CheckFailed) as failed:
            kaggle.quota()
        assert "bad key ***" in str(failed.value)
