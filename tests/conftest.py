"""What all tests share: compiled plugins, the examples, a manager."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from slipstream import PluginManager
from slipstream.testing import build_plugin
from support.outcomes import assert_adds_up

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "tests" / "plugins"

Compile = Callable[..., Path]

# A runner in the background may ignore or block these, and what it starts then does so as well:
# the hosts of tests that are sent signals, and pytest itself. For SIGINT the interpreter installs
# its handler only where it is not ignored; without it, Ctrl-C ends pytest and no summary tells.
# The others must not end pytest, whose runner does not want it (nohup, say): a handler that does
# nothing is, other than "ignored", not handed on to what is started.
_NOTHING = lambda _number, _frame: None  # noqa: E731 - a handler, not a function to call
if os.name == "posix":
    _AS_USUAL = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGCHLD: signal.SIG_DFL,
        **dict.fromkeys((signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM), _NOTHING),
    }
    for _number, _usual in _AS_USUAL.items():
        if signal.getsignal(_number) is signal.SIG_IGN:
            signal.signal(_number, _usual)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _AS_USUAL)

# How long an example takes tells nothing on a machine that is busy with other things. The parent
# is what hypothesis itself takes, which differs under CI.
hypothesis.settings.register_profile(
    "slipstream",
    hypothesis.settings.default,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("slipstream")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The one that takes as long as a quarter of the others begins first: nobody waits for it."""
    items.sort(key=lambda item: item.path.name != "test_sanitized.py")


_FOLDER = Path.cwd()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    """A test that leaves the folder fails itself, and not another one after it."""
    yield
    try:
        left = Path.cwd()
    except FileNotFoundError:
        left = Path("a folder that is gone")
    if left != _FOLDER:
        os.chdir(_FOLDER)
        pytest.fail(f"the test, or a fixture that it set up, left the process in {left}")


@pytest.fixture(scope="session")
def compile_plugin(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """``compile_plugin(source, *flags, name="plugin", lang="c")``: a library, built once.

    `source` is a text, or the name of a file in tests/plugins.
    """
    if os.name != "posix":
        pytest.skip("there is no compiler here")
    folder = tmp_path_factory.mktemp("compiled")

    def compile_it(source: str, *flags: str, name: str = "plugin", lang: str = "c") -> Path:
        if "\n" not in source:
            source = (PLUGINS / source).read_text()
        key = hashlib.sha256("\0".join((source, *flags, name, lang)).encode()).hexdigest()[:16]
        place = folder / key
        library = place / f"{name}.so"
        if not library.exists():
            place.mkdir(exist_ok=True)
            return build_plugin(source, *flags, folder=place, name=name, lang=lang)
        return library

    return compile_it


@pytest.fixture(scope="session")
def examples() -> Path:
    """The examples' folder with every library in place."""
    if os.name != "posix":
        pytest.skip("there is no make here, and no compiler")
    from support.making import run_make

    folder = ROOT / "examples"
    if not all((folder / name / f"{name}.so").exists() for name in ("minimal", "tally", "ledger")):
        done = run_make(folder, "-s", "-j2", "all")
        assert done is not None, "no make on this machine"
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[PluginManager]:
    """A manager that is closed at the end; pytest's folders are the user's own."""
    made = PluginManager(insecure_paths=True, log_level="trace", data_dir=tmp_path / "data")
    yield made
    plugins = list(made.plugins.values())
    for plugin in plugins:
        assert_adds_up(plugin.counters)
    made.close()
    for plugin in plugins:
        assert_adds_up(plugin.counters)
        assert plugin.counters.waiting == 0
