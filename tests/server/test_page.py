"""The status page in headless Chromium, and what pages of other origins may do."""

from __future__ import annotations

import http.server
import json
import threading
from importlib import resources

import pytest

from support.browser import Browser, chromium
from support.daemon import Operated
from support.toolbox import is_not_here


@pytest.fixture(scope="module")
def browser():
    if chromium() is None:
        is_not_here("there is no chromium")
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="module")
def origins():
    """Two places from which pages come: one that is configured, and another."""

    class Empty(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>a page</title>")

        def log_message(self, *_: object) -> None:
            pass

    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), Empty) for _ in range(2)]
    threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{one.server_port}" for one in servers]
    for one, thread in zip(servers, threads, strict=True):
        one.shutdown()
        thread.join()
        one.server_close()


@pytest.fixture(scope="module")
def daemon(compile_plugin, tmp_path_factory, origins):
    library = compile_plugin("talker.c", "-DFLAGS=SLIPSTREAM_FLAG_MULTI_INSTANCE", name="talker")
    folder = tmp_path_factory.mktemp("page")
    options = ("--cors-origin", origins[0], "--rest-rps", "0")
    with Operated(folder, library, *options, names=("talker", "other")) as made:
        made.library = library
        yield made
        assert made.end() == 0


@pytest.fixture
def page(browser, daemon):
    made = browser.page(daemon.url)
    made.until("document.getElementById('token').open")
    made.type(daemon.token)
    made.press("Enter")
    made.until("document.querySelectorAll('tbody tr').length >= 2")
    yield made
    made.close()


def row(name: str) -> str:
    return f"[...document.querySelectorAll('tbody tr')].find(r => r.innerText.includes('{name}'))"


def button(name: str, text: str) -> str:
    return f"document.querySelector('button[aria-label=\"{text} {name}\"]')"


def choose(page, name: str) -> None:
    page.run(f"{row(name)}.querySelector('button.name').click()")


def test_it_shows_a_crash(page, daemon) -> None:
    choose(page, "talker")
    page.until("!document.getElementById('details').hidden")
    daemon.tell("log and abort", "famous last words")
    page.until(f"{row('talker')}.innerText.includes('died of signal 6')")
    report = page.until("document.getElementById('report').textContent")
    assert "libc" in report
    assert " + 0x" in report
    assert "famous last words" in report
    page.until("document.getElementById('lines').textContent.includes('famous last words')")


def test_it_pauses_resumes_and_reloads_a_plugin(page, daemon) -> None:
    page.run(f"{button('other', 'Pause')}.click()")
    page.until(f"{row('other')}.innerText.includes('paused')")
    page.run(f"{button('other', 'Resume')}.click()")
    page.until(f"{row('other')}.querySelector('.state').textContent === 'running'")
    daemon.config("other", daemon.library, ring_bytes=1 << 20, log_level="info")
    daemon.config("other", daemon.library)
    page.run(f"{button('other', 'Reload')}.click()")
    page.until("document.getElementById('message').textContent === 'reload other: done'")


def test_it_is_used_by_keyboard_alone(page, daemon) -> None:
    daemon.run("plugins", "load", daemon.config("third", daemon.library))
    page.until(f"{row('third')}")

    def focused() -> str:
        return page.run("document.activeElement.getAttribute('aria-label')"
                        " || document.activeElement.textContent")  # fmt: skip

    def walk(to: str) -> None:
        for _ in range(40):
            page.press("Tab")
            if focused() == to:
                return
        pytest.fail(f"no {to} by Tab")

    walk("third")
    page.press("Enter")
    page.until("!document.getElementById('details').hidden")
    walk("Pause third")
    page.press("Enter")
    page.until(f"{row('third')}.innerText.includes('paused')")
    assert page.until(f"{button('third', 'Resume')}") is not None
    walk("Unload third")
    page.press("Enter")
    page.until("document.getElementById('sure').open")
    page.press("Escape")
    page.until("!document.getElementById('sure').open")
    assert focused() == "Unload third"
    page.press("Enter")
    page.until("document.getElementById('sure').open")
    page.press("Tab", shift=True)
    assert focused() == "Unload"
    page.press("Enter")
    page.until(f"!({row('third')})")
    assert [one["name"] for one in daemon.json("plugins", "list")["plugins"]] == ["talker", "other"]


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [1200, 380])
def test_axe_finds_nothing_serious(page, daemon, is_dark: bool, width: int) -> None:
    axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
    page.size(width, 800, phone=width < 500)
    page.dark(is_dark=is_dark)
    choose(page, "talker")
    page.until("!document.getElementById('details').hidden")
    page.run(axe + "; 0")
    for step in ("0", "document.getElementById('token').showModal()"):
        page.run(step)
        found = page.run("axe.run().then(r => JSON.stringify(r.violations.map("
                         "v => [v.impact, v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])))")  # fmt: skip
        bad = [one for one in json.loads(found) if one[0] in {"serious", "critical"}]
        assert not bad, json.dumps(bad, indent=1)
    # Nothing is wider than the screen.
    assert page.run("document.documentElement.scrollWidth") <= width


def test_it_loads_nothing_from_outside_and_breaks_no_rule(page, daemon) -> None:
    choose(page, "talker")
    daemon.tell("log/3", "a line to be shown")
    page.until("document.getElementById('lines').textContent.includes('a line to be shown')")
    asked = [one["request"]["url"] for one in page.events("Network.requestWillBeSent")]
    assert asked
    assert all(url.startswith((daemon.url, "data:")) for url in asked), asked
    said = [one["entry"] for one in page.events("Log.entryAdded")]
    said = [one for one in said if "401" not in one.get("text", "")]  # before the token
    assert not said
    assert not page.events("Runtime.exceptionThrown")
    policy = page.run("fetch('/').then(r => r.headers.get('content-security-policy'))")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    run = """new Promise(done => {
        window.ran = 0;
        const made = document.createElement('script');
        made.textContent = 'window.ran = 1';
        document.body.append(made);
        setTimeout(() => done(window.ran), 50);
    })"""
    assert page.run(run) == 0


def test_the_token_is_in_memory_only(page, daemon) -> None:
    kept = page.run("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href,"
                    "document.documentElement.outerHTML, document.getElementById('token-text').value])")  # fmt: skip
    assert daemon.token not in kept
    assert all(daemon.token not in one["request"]["url"]
               for one in page.events("Network.requestWillBeSent"))  # fmt: skip
    page.go(daemon.url + "/?again")
    page.until("document.getElementById('token').open")


def test_what_plugins_say_is_text(page, daemon) -> None:
    choose(page, "other")
    daemon.tell("log/3", "<img src=x onerror=window.owned=1>")
    page.until("document.getElementById('lines').textContent.includes('<img src=x')")
    assert page.run("window.owned") is None
    assert page.run("document.querySelectorAll('img').length") == 0


def test_a_wrong_token_is_told(browser, daemon) -> None:
    made = browser.page(daemon.url)
    try:
        made.until("document.getElementById('token').open")
        made.type("nonsense")
        made.press("Enter")
        made.until("document.getElementById('message').textContent.includes('token is refused')")
    finally:
        made.close()


CALL = """(async () => {
  const said = [];
  const headers = {Authorization: 'Bearer %s'};
  for (const [method, path] of [['PUT', '/other'], ['DELETE', '/nobody'], ['GET', '']]) {
    try {
      const answer = await fetch('%s/mainnet/slipstream/plugins' + path, {method, headers});
      said.push([answer.status, await answer.json()]);
    } catch (error) { said.push(String(error)); }
  }
  return JSON.stringify(said);
})()"""


def test_pages_of_a_configured_origin_may_change_and_others_not(browser, daemon, origins) -> None:
    results = []
    for origin in origins:
        made = browser.page(origin)
        try:
            results.append(json.loads(made.run(CALL % (daemon.token, daemon.url))))
        finally:
            made.close()
    allowed, other = results
    assert allowed[0][0] == 200
    assert allowed[0][1]["reloaded"] == "other"
    assert allowed[1][0] == 404
    assert allowed[1][1]["message"] == "no plugin nobody is loaded"
    assert allowed[2] == [200, ["talker", "other"]]
    assert other == ["TypeError: Failed to fetch"] * 3
