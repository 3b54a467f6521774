"""A registry on loopback with small wheels, for the real pip: it counts what is fetched, and can hold a file back."""

import hashlib
import io
import threading
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def wheel(name: str, files: int = 1) -> bytes:
    """Return a wheel of `name` 1.0; what says that it is installed is unpacked first."""
    info = f"{name}-1.0.dist-info"
    contents = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: shop\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{f"{name}/part_{number}.py": f"NUMBER = {number}\n" for number in range(files)},
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for path, text in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return memory.getvalue()


class Shop:
    """The registry, its lock, and what pip must know to use it alone."""

    def __init__(self, folder: Path, files_of: dict[str, int]) -> None:
        self.wheels = {f"{name}-1.0-py3-none-any.whl": wheel(name, files) for name, files in files_of.items()}
        self.fetched: Counter[str] = Counter()
        self.held_back = ""  # a file of which half is sent until `release`
        self.release = threading.Event()
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                file = self.path.rpartition("/")[2]
                if file in shop.wheels:
                    return self.answer(shop.wheels[file], file)
                name = self.path.strip("/").rpartition("/")[2]
                links = [f'<a href="/files/{one}">{one}</a>' for one in shop.wheels if one.startswith(f"{name}-")]
                self.answer("".join(links).encode(), "")

            def answer(self, body: bytes, file: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "application/zip" if file else "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Cache-Control", "max-age=365000000, immutable" if file else "no-store")
                self.end_headers()
                half = len(body) // 2
                self.wfile.write(body[:half])
                if file and file == shop.held_back:
                    self.wfile.flush()
                    shop.release.wait(60)
                self.wfile.write(body[half:])
                shop.fetched[file] += bool(file)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{self.server.server_port}"
        self.variables = {
            "PIP_INDEX_URL": f"http://{host}/simple",
            "PIP_TRUSTED_HOST": host,  # pip keeps in its cache what a trusted host sends
            "PIP_CACHE_DIR": str(folder / "cache"),
            "PIP_CONFIG_FILE": "/dev/null",  # of this machine
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_FIND_LINKS": "",
        }
        (folder / "pyproject.toml").write_text(
            f"[project]\ndependencies = {[f'{name}==1.0' for name in files_of]}\n"
            "[dependency-groups]\ndev = []\nlab = []\nlock = []\n"
        )
        self.folder = folder

    def write_lock(self, path: Path, tampered: str = "") -> None:
        """Write the lock of all wheels; the hash of `tampered` is of another content."""
        path.parent.mkdir(exist_ok=True)
        text = ""
        for file, body in self.wheels.items():
            name = file.partition("-")[0]
            sha256 = hashlib.sha256(body + (b"!" if name == tampered else b"")).hexdigest()
            text += f"{name}==1.0 \\\n    --hash=sha256:{sha256}\n"
        path.write_text(text)

    def close(self) -> None:
        """Stop serving."""
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
