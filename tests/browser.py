"""Headless Chromium, driven over its own DevTools protocol: for tests in a real browser, and for looking at pages.

    .venv/bin/python -m tests.browser out/bench/index.html --widths 1280,390 --out /tmp/shots

photographs a page at each width and prints its console errors; exit code 1 if there are any. Needs Debian's `chromium`
and nothing else: tornado, which ipykernel brings along, speaks the WebSocket. Chromium's own calls home are switched
off; whatever a page asks from elsewhere fails and is an error.
"""

import argparse
import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from tornado.websocket import WebSocketClientConnection, websocket_connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = "no Chromium on this machine → `apt-get install chromium`"
WIDTHS = (1280, 390)  # a desktop window, a phone
PHONE_PX = 600  # narrower screens are phones: mobile layout, touch
FLAGS = (
    *("--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars"),
    "--remote-debugging-port=0",
)
MESSAGE_BYTES = 256 << 20  # a screenshot of a long page is one message
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Backspace": (8, ""), "Home": (36, ""), "End": (35, "")}
KEYS |= {"ArrowDown": (40, ""), "ArrowUp": (38, ""), "ArrowRight": (39, "")}
MODIFIERS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8}


def find_chromium() -> str:
    """Return Chromium's path, "" where there is none."""
    return next((found for name in NAMES if (found := shutil.which(name))), "")


class Browser:
    """One Chromium with one page; ends with the `with` block, and so does everything that it started."""

    def __init__(self) -> None:
        program = find_chromium()
        if not program:
            raise FileNotFoundError(INSTALL)
        self.errors: list[str] = []  # what the console says in red, exceptions, and what could not be loaded
        self.asked: list[str] = []  # every address that a page asked for
        self._loop = asyncio.new_event_loop()
        self._number = 0
        self._loaded = False
        self._folder = tempfile.mkdtemp(prefix="chromium-")
        as_root = ["--no-sandbox"] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            [program, *FLAGS, *as_root, f"--user-data-dir={self._folder}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._socket = self._connect()
            target = self.ask("Target.createTarget", session="", url="about:blank")["targetId"]
            self._session = self.ask("Target.attachToTarget", session="", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Log", "Network"):
                self.ask(f"{domain}.enable")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Browser":
        """Hand out the browser."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        self.close()

    def close(self) -> None:
        """End Chromium and forget its profile."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- the protocol ---------------------------------------------------------------------------------------------

    def _connect(self) -> WebSocketClientConnection:
        note, end = Path(self._folder, "DevToolsActivePort"), time.monotonic() + 60
        while not (note.exists() and len(note.read_text().splitlines()) == 2):
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Chromium does not start (exit code {self._process.poll()})")
            time.sleep(0.05)
        port, path = note.read_text().splitlines()

        async def connect() -> WebSocketClientConnection:
            return await websocket_connect(f"ws://127.0.0.1:{port}{path}", max_message_size=MESSAGE_BYTES)

        return self._loop.run_until_complete(connect())

    def ask(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its answer; events that come before it are noted."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if name := self._session if session is None else session:
            message["sessionId"] = name

        async def exchange() -> dict[str, Any]:
            await self._socket.write_message(json.dumps(message))
            while True:
                answer = await self._read()
                if answer.get("id") == number:
                    return answer

        answer = self._loop.run_until_complete(asyncio.wait_for(exchange(), 120))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def _read(self) -> dict[str, Any]:
        text = await self._socket.read_message()
        if text is None:
            raise RuntimeError("Chromium has ended")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event in {"Network.requestWillBeSent", "Network.webSocketCreated"}:
            self.asked.append(told["url"] if "url" in told else told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and told["type"] in {"error", "assert"}:
            said = (str(one.get("value", one.get("description", ""))) for one in told["args"])
            self.errors.append(" ".join(said))
        elif event == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}".strip())

    # -- what a person does ---------------------------------------------------------------------------------------

    def size(self, width_px: int, height_px: int = 900) -> None:
        """Give the window a size; a narrow one is a phone."""
        phone = width_px < PHONE_PX
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width_px, height=height_px, deviceScaleFactor=1, mobile=phone
        )
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)

    def go(self, address: str, limit_s: float = 60) -> None:
        """Open an address and wait until it is loaded."""
        self._loaded = False
        self.ask("Page.navigate", url=address)

        async def loaded() -> None:
            while not self._loaded:
                await self._read()

        self._loop.run_until_complete(asyncio.wait_for(loaded(), limit_s))

    def evaluate(self, script: str) -> Any:
        """Return what an expression is in the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait_for(self, script: str, limit_s: float = 60) -> None:
        """Wait until an expression is true in the page, by JavaScript's own rule: an element is."""
        end = time.monotonic() + limit_s
        while not self.evaluate(f"Boolean({script})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {limit_s:g} s: {script}")
            time.sleep(0.1)

    def press(self, key: str, *modifiers: str) -> None:
        """Press a key, by its name or its letter."""
        code, text = KEYS.get(key, (ord(key[0].upper()), key))
        flags = sum(MODIFIERS[one] for one in modifiers)
        names = {"key": key, "windowsVirtualKeyCode": code, "modifiers": flags}
        names["code"] = key if key in KEYS else f"Key{key.upper()}"
        if text and not flags:
            names["text"] = text
        self.ask("Input.dispatchKeyEvent", type="keyDown" if "text" in names else "rawKeyDown", **names)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **names)

    def write(self, text: str) -> None:
        """Write where the cursor is."""
        self.ask("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """Click into the middle of the first element of a selector."""
        script = "(e => { const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })"
        x, y = self.evaluate(f"{script}(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def shot(self, path: Path, *, whole: bool = False) -> Path:
        """Photograph the window, or the whole page, as PNG."""
        more: dict[str, Any] = {}
        if whole:
            content = self.ask("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": content["width"], "height": content["height"], "scale": 1}
            more = {"captureBeyondViewport": True, "clip": clip}
        picture = self.ask("Page.captureScreenshot", format="png", **more)["data"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(picture))
        return path


@dataclass
class Shots:
    """What a page looks like, and what is wrong with it."""

    pictures: list[Path] = field(default_factory=list)  # one for each width
    errors: list[str] = field(default_factory=list)  # of the console
    too_wide: list[str] = field(default_factory=list)  # where a reader would have to scroll sideways


def page_shots(html: Path, widths: Sequence[int] = WIDTHS, out: Path | None = None) -> Shots:
    """Photograph a file at several widths, from top to bottom, as `<out>/<name>-<width>.png`.

    Raises:
        FileNotFoundError: there is no Chromium, or no such file.
    """
    if not html.is_file():
        raise FileNotFoundError(html)
    out = out or html.parent
    shots = Shots()
    for width in widths:
        with Browser() as browser:
            browser.size(width)
            browser.go(html.resolve().as_uri())
            time.sleep(0.3)  # for what draws itself after loading
            inner = browser.evaluate("document.documentElement.scrollWidth")
            if inner > width:
                shots.too_wide.append(f"{html.name} at {width} px: the page is {inner} px wide")
            shots.pictures.append(browser.shot(out / f"{html.stem}-{width}.png", whole=True))
            shots.errors += [f"{html.name} at {width} px: {error}" for error in browser.errors]
    return shots


def main() -> int:
    """Photograph pages; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path, metavar="FILE.html")
    parser.add_argument("--widths", default=",".join(map(str, WIDTHS)), help="in CSS pixels")
    parser.add_argument("--out", type=Path, help="folder of the pictures; beside each page by default")
    asked = parser.parse_args()
    wrong: list[str] = []
    for page in asked.pages:
        shots = page_shots(page, [int(width) for width in asked.widths.split(",")], asked.out)
        print("\n".join(map(str, shots.pictures)))
        wrong += shots.errors + shots.too_wide
    print("\n".join(wrong) or "no errors on the console, nothing too wide")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
