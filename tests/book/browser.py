"""A page in headless Chromium, driven by the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import websocket

OPTIONS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars"
OPTIONS += " --autoplay-policy=no-user-gesture-required --remote-debugging-port=0"
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND"  # no name is resolved
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WAIT = 60.0  # seconds for a page, or for what a script waits for


def chromium() -> str | None:
    """The program, if there is one that runs; that of a distribution can be an empty shell."""
    for path in filter(None, map(shutil.which, PROGRAMS)):
        run = subprocess.run([path, "--version"], capture_output=True, timeout=WAIT)
        if run.returncode == 0:
            return path
    return None


class Page:
    """A tab; `faults` are errors of its console and scripts, `requests` the addresses it loaded."""

    def __init__(self, program: str, width: int = 1280, height: int = 900):
        self.folder, self.count = Path(tempfile.mkdtemp(prefix="chromium-")), 0
        self.faults: list[str] = []
        self.requests: list[str] = []
        command = [program, *OPTIONS.split(), OFFLINE, f"--user-data-dir={self.folder}"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([*command, "about:blank"], **quiet)
        port = self._eventually(self._port)
        local = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with local.open(f"http://127.0.0.1:{port}/json/list", timeout=WAIT) as answer:
            tabs = [tab for tab in json.load(answer) if tab["type"] == "page"]
        address = tabs[0]["webSocketDebuggerUrl"]
        options = {"suppress_origin": True, "http_no_proxy": ["127.0.0.1"]}
        self.socket = websocket.create_connection(address, timeout=WAIT, **options)
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)

    def call(self, method: str, **parameters) -> dict:
        self.count += 1
        self.socket.send(json.dumps({"id": self.count, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != self.count:
            self._note(message.get("method", ""), message.get("params", {}))
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def evaluate(self, script: str):
        """The value of a script in the page; of a promise once it is fulfilled."""
        options = {"returnByValue": True, "awaitPromise": True}
        answer = self.call("Runtime.evaluate", expression=script, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def open(self, address: str) -> None:
        """Load a page and wait until it is complete."""
        self.faults, self.requests = [], []
        self.evaluate("window.left = true")
        self.call("Page.navigate", url=address)
        self.wait("!window.left && document.readyState === 'complete'")

    def wait(self, condition: str):
        """Wait until a script returns a true value, and return it."""
        return self._eventually(lambda: self.evaluate(condition), condition)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def screenshot(self, path: Path, full: bool = False) -> None:
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=full)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _note(self, event: str, given: dict) -> None:
        if event == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        if event == "Runtime.exceptionThrown":
            self.faults.append(str(given["exceptionDetails"]))
        if event == "Runtime.consoleAPICalled" and given["type"] == "error":
            self.faults.append(str(given["args"]))
        if event == "Log.entryAdded" and given["entry"]["level"] == "error":
            self.faults.append(f"{given['entry']['text']} {given['entry'].get('url', '')}")

    def _port(self) -> str:
        path = self.folder / "DevToolsActivePort"
        return path.read_text().split("\n")[0] if path.exists() else ""

    def _eventually(self, condition, what: str = "Chromium to start"):
        end = time.monotonic() + WAIT
        while not (value := condition()):
            if time.monotonic() > end:
                raise TimeoutError(f"not within {WAIT:g} s: {what}")
            time.sleep(0.05)
        return value
