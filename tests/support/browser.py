"""Headless Chromium, driven by its own protocol through two pipes: nothing else is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

SECONDS = 60.0
_OPTIONS = (
    "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-extensions", "--mute-audio", "--no-proxy-server",
    "--force-device-scale-factor=1", "--hide-scrollbars",
)  # fmt: skip


def chromium() -> str | None:
    """The program, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One browser with its profile; pages of it are apart from each other, as private ones are."""

    def __init__(self) -> None:
        program = chromium()
        assert program is not None
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()
        # What the child gets as 3 and 4 must be neither before.
        read = fcntl.fcntl(ours[0], fcntl.F_DUPFD_CLOEXEC, 10)
        write = fcntl.fcntl(theirs[1], fcntl.F_DUPFD_CLOEXEC, 10)

        def give() -> None:
            os.dup2(read, 3)
            os.dup2(write, 4)

        self._process = subprocess.Popen(
            [program, *_OPTIONS, f"--user-data-dir={self._profile.name}", "about:blank"],
            preexec_fn=give,  # noqa: PLW1509 - it only moves descriptors
            pass_fds=(3, 4), stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._profile.name},
        )  # fmt: skip
        for end in (read, write, ours[0], theirs[1]):
            os.close(end)
        self._to, self._from = ours[1], theirs[0]
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        self._number += 1
        said = {"id": self._number, "method": method, "params": params}
        message = json.dumps({**said, **({"sessionId": session} if session else {})}).encode()
        left = memoryview(message + b"\0")
        while left:
            left = left[os.write(self._to, left) :]
        end = time.monotonic() + SECONDS
        while True:
            answer = self._next(end)
            if answer is None:
                raise TimeoutError(method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self, end: float) -> dict[str, Any] | None:
        while b"\0" not in self._rest:
            if not select.select([self._from], [], [], max(0.0, end - time.monotonic()))[0]:
                return None
            some = os.read(self._from, 1 << 20)
            if not some:
                raise EOFError("the browser has ended")
            self._rest += some
        message, _, self._rest = self._rest.partition(b"\0")
        said = json.loads(message)
        if "method" in said:
            self.events.append(said)
        return said

    def page(self, url: str = "about:blank", *, width: int = 1200, height: int = 900) -> Page:
        """Open a page in a context of its own."""
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)
        page = Page(self, target["targetId"], context)
        page.size(width, height)
        if url != "about:blank":
            page.go(url)
        return page

    def close(self) -> None:
        try:
            self.call("Browser.close")
            self._process.wait(10)
        except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired):
            pass
        finally:
            os.close(self._to)
            os.close(self._from)
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self._process.wait()
            self._profile.cleanup()


class Page:
    """One page."""

    def __init__(self, browser: Browser, target: str, context: str) -> None:
        self._browser, self._context = browser, context
        attached = browser.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **params)

    def events(self, method: str) -> list[dict[str, Any]]:
        """What the browser has told of this page."""
        self.call("Runtime.evaluate", expression="0")
        return [
            one["params"] for one in self._browser.events
            if one["method"] == method and one.get("sessionId") == self._session
        ]  # fmt: skip

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=phone,
        )  # fmt: skip

    def dark(self, *, is_dark: bool) -> None:
        value = "dark" if is_dark else "light"
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": value}],
        )

    def go(self, url: str) -> None:
        """Open an address, and wait until its document is there."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript, and wait for a promise that it gives."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(json.dumps(done["exceptionDetails"])[:2000])
        return done["result"].get("value")

    def until(self, expression: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true; return it, a part of the document as True."""
        expression = f"(found => found instanceof Node ? true : found)({expression})"
        end = time.monotonic() + seconds
        while True:
            try:
                found = self.run(expression)
            except RuntimeError:
                found = None  # between two documents
            if found:
                return found
            assert time.monotonic() < end, f"{expression}: not within {seconds} s: {self.text()}"
            time.sleep(0.03)

    def text(self) -> str:
        return self.run("document.body ? document.body.innerText : ''")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key: Tab, Enter, Escape, or a letter."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        typed = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        common = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, ord(key[0]))}
        common["modifiers"] = 8 if shift else 0
        self.call("Input.dispatchKeyEvent", type="keyDown", **common,
                  **({"text": typed} if typed else {}))  # fmt: skip
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        shot = self.call("Page.captureScreenshot", format="png")
        file.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._browser.call("Target.disposeBrowserContext", browserContextId=self._context)
        mine = self._session
        self._browser.events = [e for e in self._browser.events if e.get("sessionId") != mine]
