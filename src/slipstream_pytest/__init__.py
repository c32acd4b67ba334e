"""Fixtures for those who test their plugins with pytest, which finds them by itself.

`plugin_from_source` builds a plugin, `isolated_host` hosts one in a process of its own: see
"Testing" in docs/writing-plugins.md. Everybody who has slipstream installed loads this into each of
their sessions, so that it imports nothing before it is used, nor stands inside of `slipstream`,
whose own import takes its time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from slipstream.testing import IsolatedHost

_CPP = {".cpp", ".cc", ".cxx", ".C"}
_hosts: list[IsolatedHost] = []  # of the test that is running


@pytest.fixture(scope="session")
def plugin_from_source(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a plugin in C or C++, once in a session: ``plugin_from_source(source, *flags)``.

    `source` is a text or the path of a file. By name: `name` of the library, "plugin" unless said;
    `lang`, "c" or "cpp", of a text; `compiler`. Returns the library's path. What the compiler
    refuses is a `PluginBuildError` with its message.
    """
    from slipstream.testing import build_plugin  # noqa: PLC0415 - see above

    built: dict[tuple[object, ...], Path] = {}

    def build(
        source: str | Path,
        *flags: str,
        name: str = "plugin",
        lang: str | None = None,
        compiler: str | None = None,
    ) -> Path:
        path = source if isinstance(source, Path) else None
        if path is None and "\n" not in str(source) and Path(source).is_file():
            path = Path(source)
        text = source if path is None else (path.absolute(), path.stat().st_mtime_ns)
        language = lang or ("cpp" if path is not None and path.suffix in _CPP else "c")
        key = (text, flags, name, language, compiler)
        if key not in built:
            built[key] = build_plugin(
                str(source) if path is None else path,
                *flags,
                folder=tmp_path_factory.mktemp(name),
                name=name,
                lang=language,
                compiler=compiler,
            )
        return built[key]

    return build


@pytest.fixture
def isolated_host() -> Iterator[Callable[..., IsolatedHost]]:
    """Host a plugin in a process of its own: ``isolated_host(library, config, timeout=10.0)``.

    Returns a `slipstream.testing.IsolatedHost`, loaded; it is closed at the end of the test. A
    plugin that crashes or hangs fails the test, and the next one goes on.
    """
    from slipstream.testing import IsolatedHost  # noqa: PLC0415 - see above

    def host(*arguments: Any, **options: Any) -> IsolatedHost:
        made = IsolatedHost(*arguments, **options)
        _hosts.append(made)
        made.load()
        return made

    yield host
    _close_hosts()


def _close_hosts() -> None:
    """Close all of them; the first problem is raised."""
    with contextlib.ExitStack() as stack:
        while _hosts:
            stack.callback(_hosts.pop(0).close)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A plugin that crashes while it is unloaded fails its test; it is no error behind it."""
    outcome: Any = yield
    if _hosts and hasattr(outcome, "force_exception"):  # else they are closed behind the test
        try:
            _close_hosts()
        except Exception as error:  # noqa: BLE001 - pytest reports it
            if outcome.excinfo is None:
                outcome.force_exception(error)
