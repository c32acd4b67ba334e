"""Who waits for whom: nobody who asks, and nobody who changes another plugin."""

from __future__ import annotations

import threading

import pytest

from slipstream import ChangeUnderWay, PluginFailed, PluginManager
from slipstream.server.describe import why_not_ready
from support.gated import Gated, wait_until
from support.rest import read_all
from support.rings import small


class Held:
    """Something that is asked for in a thread, and answered when the plugin is let go."""

    def __init__(self, host, ask) -> None:
        self._hold = host.folder / "hold"
        self._hold.touch()
        self._answers: list = []
        self._thread = threading.Thread(target=self._run, args=(host, ask))
        self._thread.start()
        host.gated.wait_at_gate()

    def _run(self, host, ask) -> None:
        with host.client() as client:
            self._answers.append(ask(client))

    @property
    def is_under_way(self) -> bool:
        return self._thread.is_alive()

    def let_go(self):
        self._hold.unlink(missing_ok=True)
        self._thread.join(120)
        return self._answers[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._hold.unlink(missing_ok=True)
        self._thread.join(120)


@pytest.fixture
def other(host, compile_plugin) -> Gated:
    other = Gated(compile_plugin, host.folder, name="other")
    host.manager.load_plugin(other.config())
    return other


@pytest.mark.parametrize("mode", ["inline", "thread", "process"])
def test_a_load_delays_nobody(host, other, mode) -> None:
    slow = host.config(hold=str(host.folder / "hold"), mode=mode, load_timeout=120)
    load = Held(host, lambda client: client.post(host.base, json={"config_file": slow}))
    with load as held, host.client() as client:
        base = f"{host.base}/other"
        assert client.get(host.base).json() == ["other"]
        for path in ("", "/logs", "/crashes", "/dead-letters"):
            assert client.get(base + path).status_code == 200
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert client.get(path).status_code == 200
        for what in ("pause", "resume"):
            assert client.post(f"{base}/{what}").status_code == 200
        host.manager.mapping_update(b"p", b"m", b"k", b"v", 1)
        assert client.post(f"{base}/flush").status_code == 200
        assert len(other.events) == 1
        # One change of the set of plugins at a time.
        answers = [
            client.post(host.base, json={"config_file": slow}),
            client.put(base),
            client.delete(base),
        ]
        for answer in answers:
            assert answer.status_code == 409
            assert answer.json()["error_type"] == "conflict"
            assert "another load or unload is under way" in answer.json()["message"]
            assert answer.headers["retry-after"] == "1"
        assert held.is_under_way
        assert held.let_go().json() == {"loaded": "gated"}
        assert client.get(host.base).json() == ["other", "gated"]
        assert client.delete(base).status_code == 200


def test_a_reload_delays_only_changes_of_its_plugin(host, other) -> None:
    host.load()
    slow = host.config(hold=str(host.folder / "hold"), load_timeout=120)
    put = Held(host, lambda client: client.put(f"{host.base}/gated", json={"config_file": slow}))
    with put as held, host.client() as client:
        status = client.get(f"{host.base}/gated")
        assert status.status_code == 200
        for what in ("pause", "resume", "flush"):
            assert client.post(f"{host.base}/other/{what}").status_code == 200
            answer = client.post(f"{host.base}/gated/{what}")
            assert answer.status_code == 409
            assert "another change of gated is under way" in answer.json()["message"]
        assert held.is_under_way
        assert held.let_go().status_code == 200


def test_a_change_goes_on_without_whoever_asked(host) -> None:
    """The caller goes away in the middle of a load: it is loaded, and nothing else has happened."""
    (host.folder / "hold").touch()
    slow = host.config(hold=str(host.folder / "hold"), load_timeout=120)
    body = f'{{"config_file": "{slow}"}}'
    with host.served.raw() as connection:
        connection.sendall(
            f"POST {host.base} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        host.gated.wait_at_gate()
    (host.folder / "hold").unlink()
    with host.client() as client:
        wait_until(lambda: client.get(host.base).json() == ["gated"], "it is not loaded")
    wait_until(lambda: host.audit.exists() and '"code": 200' in host.audit.read_text(), "no line")


def test_half_closed_and_pipelined(host) -> None:
    host.load()
    ask = f"GET {host.base} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {host.token}\r\n"
    with host.served.raw() as connection:
        connection.sendall(3 * f"{ask}\r\n".encode() + f"{ask}Connection: close\r\n\r\n".encode())
        assert read_all(connection).count(b'["gated"]') == 4
    with host.served.raw() as connection:
        connection.sendall(ask[:20].encode())
        connection.shutdown(1)
        read_all(connection)
    with host.client() as client:
        assert client.get("/healthz").status_code == 200


def test_the_manager_says_who_is_busy(host, other) -> None:
    slow = host.config(hold=str(host.folder / "hold"), load_timeout=120)
    load = Held(host, lambda client: client.post(host.base, json={"config_file": slow}))
    with load:
        for change in (
            lambda: host.manager.unload_plugin("other", wait=0.01),
            lambda: host.manager.reload_plugin("other", wait=0.01),
            lambda: host.manager.load_plugin(slow, wait=0.0),
        ):
            with pytest.raises(ChangeUnderWay, match="another load or unload"):
                change()
        assert issubclass(ChangeUnderWay, PluginFailed)
    with (
        host.manager.plugins["other"].turn("test", 0.0),
        pytest.raises(ChangeUnderWay, match="another change of other is under way"),
    ):
        host.manager.pause("other", wait=0.0)


def test_a_plugin_that_asks_again_for_too_long_is_not_ready(
    compile_plugin, tmp_path, monkeypatch
) -> None:
    gated = Gated(compile_plugin, tmp_path)
    with PluginManager(insecure_paths=True) as manager:
        plugin = manager.load_plugin(gated.config(mode="thread", unload_timeout=1))
        assert why_not_ready(plugin) == ""
        gated.busy.touch()
        manager.broadcast(small(1))
        wait_until(lambda: "retrying" in plugin.reason, "it is not offered again")
        assert why_not_ready(plugin) == ""  # for a minute
        monkeypatch.setattr("slipstream.server.describe.RETRIED_TOO_LONG", 0)
        found = why_not_ready(plugin)
        assert found.startswith("gated makes no progress: retrying ordinal 1 since ")
        gated.busy.unlink()
        manager.flush(20)
        assert why_not_ready(plugin) == ""
