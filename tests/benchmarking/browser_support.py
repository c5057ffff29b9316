"""Headless Chromium, driven through a pipe by its DevTools protocol."""

import base64
import contextlib
import json
import shutil
import subprocess
import time

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
# Descriptors 3 and 4 carry the protocol; standard input and output are ours to give.
_SHELL = 'exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1'
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class Browser:
    """A browser with one page."""

    def __init__(self, profile, *flags):
        command = [CHROMIUM, *_FLAGS, f"--user-data-dir={profile}", *flags]
        self.process = subprocess.Popen(
            ["sh", "-c", _SHELL, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.number = 0
        self.session = None
        self.buffer = bytearray()
        self.server = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]

    def call(self, method, **params):
        """Call a method of the protocol and return its result."""
        number = self._send(method, **params)
        while True:
            answer = json.loads(self._message())
            if answer.get("method") == "Fetch.requestPaused":
                self._serve(answer["params"])
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def intercept(self, pattern, server):
        """Answer requests by a function from a URL to content and type."""
        self.server = server
        self.call("Fetch.enable", patterns=[{"urlPattern": pattern}])

    def open(self, url):
        """Go to a page."""
        self.call("Page.navigate", url=url)

    def evaluate(self, expression):
        """The value of a JavaScript expression."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        return found["result"].get("value")

    def wait_for(self, expression, seconds=60):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"{expression} did not become true: {self.text()}"
            time.sleep(0.05)

    def text(self):
        """What a person sees."""
        return self.evaluate("document.body.innerText")

    def screenshot(self, path, width=900, height=1100, dark=False):
        """Write a picture of the page."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(data))

    def close(self):
        """End the browser."""
        self.session = None
        with contextlib.suppress(Exception):
            self.call("Browser.close")
        with contextlib.suppress(Exception):
            self.process.wait(10)
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _serve(self, request):
        body, kind = self.server(request["request"]["url"])
        headers = {"Content-Type": kind, "Access-Control-Allow-Origin": "*"}
        self._send(
            "Fetch.fulfillRequest",
            requestId=request["requestId"],
            responseCode=200,
            responseHeaders=[{"name": k, "value": v} for k, v in headers.items()],
            body=base64.b64encode(body).decode(),
        )

    def _send(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.process.stdin.write(json.dumps(message).encode() + b"\0")
        self.process.stdin.flush()
        return self.number

    def _message(self):
        while b"\0" not in self.buffer:
            part = self.process.stdout.read1(1 << 16)
            assert part, "the browser ended"
            self.buffer += part
        message, _, self.buffer = self.buffer.partition(b"\0")
        return message
