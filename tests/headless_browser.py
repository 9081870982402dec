"""Headless Chromium, controlled by a pipe: no driver and no package is needed."""

import base64
import json
import os
import shutil
import subprocess
import tempfile

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def path_of_a_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser, as a context manager; errors and requests are recorded.

    Attributes:
        errors: Errors and warnings of the console, and exceptions.
        requests: The requested addresses.
    """

    def __init__(self, path: str):
        self.errors, self.requests = [], []
        self._directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        reads, browser_writes = os.pipe()
        browser_reads, writes = os.pipe()
        # The protocol uses the file descriptors 3 and 4.
        shell = f'exec 3<&{browser_reads} 4>&{browser_writes}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "bash", path, "--headless=new", "--no-sandbox",
             "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe",
             "--no-first-run", f"--user-data-dir={self._directory.name}", "about:blank"],
            pass_fds=(browser_reads, browser_writes),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(browser_reads)
        os.close(browser_writes)
        self._in, self._out = os.fdopen(writes, "wb"), os.fdopen(reads, "rb")
        self._rest, self._number, self._session = b"", 0, None
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()
        self._directory.cleanup()

    def call(self, method: str, **parameters):
        """Returns the answer to a command of the DevTools protocol."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._in.write(json.dumps(message).encode() + b"\0")
        self._in.flush()
        while True:
            response = self._hear()
            if response.get("id") == self._number:
                assert "error" not in response, (method, response["error"])
                return response["result"]

    def open(self, path, width=1280, height=900, scheme="light") -> None:
        """Opens a file or an address, and waits until it is loaded."""
        self.resize(width, height)
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.requests.clear()
        self.call("Page.navigate", url=path if isinstance(path, str) else path.as_uri())
        self.value(
            "new Promise(done => document.readyState === 'complete' ? done() : "
            "addEventListener('load', () => done()))"
        )

    def resize(self, width: int, height: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def value(self, expression: str):
        """Returns the awaited value of an expression in the page."""
        response = self.call(
            "Runtime.evaluate",
            expression=expression, awaitPromise=True, returnByValue=True,
        )  # fmt: skip
        assert "exceptionDetails" not in response, response["exceptionDetails"]
        return response["result"].get("value")

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind, x=x, y=y, button="left", clickCount=1,
            )  # fmt: skip

    def point_at(self, x: float, y: float) -> None:
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def picture(self, path) -> None:
        response = self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(response["data"]))

    def _hear(self) -> dict:
        while b"\0" not in self._rest:
            received = os.read(self._out.fileno(), 1 << 16)
            assert received, "the browser has ended"
            self._rest += received
        message, self._rest = self._rest.split(b"\0", 1)
        content = json.loads(message)
        self._note(content.get("method"), content.get("params", {}))
        return content

    def _note(self, method: str | None, parameters: dict) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.errors.append(parameters["entry"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in (
            "error",
            "warning",
        ):
            self.errors.append(parameters["args"])
