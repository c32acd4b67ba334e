"""The types of the door: from the headers, up to date, and of use to mypy."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from abc import ABC
from pathlib import Path
from unittest.mock import create_autospec

import pytest

from slipstream import Block, PluginManager
from slipstream._native import Door, ffi, lib

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "native" / "python"
STUB = ROOT / "src" / "slipstream" / "_native" / "cdef.pyi"


@pytest.fixture
def stub(monkeypatch):
    """The script that makes the stub."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import stub

    return stub


def test_the_stub_is_what_the_headers_say(stub) -> None:
    made = stub.Stub(stub.all_declarations()).text()
    assert STUB.read_text() == made, "a header changed since; next: make setup"


def test_the_stub_has_everything_that_lib_has(stub) -> None:
    made = stub.Stub(stub.all_declarations())
    functions = [stub.FUNCTION.match(line)["name"] for line in made.functions]
    assert sorted([*made.constants, *functions]) == sorted(dir(lib))


def test_what_is_no_declaration_is_refused(stub) -> None:
    made = stub.Stub("int32_t ss_one(void);")
    assert made.function("int32_t ss_one(void)") == "    def ss_one(lib) -> int: ...\n"
    with pytest.raises(ValueError, match="this is not a function: int32_t ss_two"):
        made.function("int32_t ss_two")


GOOD = """
from slipstream import _native
from slipstream._native import ffi, lib

log = lib.ss_log_queue_new(1 << 16)
instance = lib.ss_instance_new(log, 1, b"path", b"shown", b"dir")
queue = lib.ss_queue_new(1 << 16, False, lib.SS_OVERFLOW_BLOCK, 100)
slot = ffi.new("uint32_t *")
stats = ffi.new("ss_stats *")
sequencer = lib.ss_sequencer_new(log, 1)
status: int = lib.ss_sequencer_attach_queue(sequencer, queue, 1, 1, 100, slot)
number: int = slot[0]
lib.ss_sequencer_stats(sequencer, number, stats)
state: int = stats.state
name: str = _native.text(lib.ss_status_name(status))
gone = lib.ss_queue_new(1, 0, 0, 0)
gone = ffi.NULL
door = _native.Door(_native.address(sequencer))
door.block(b"", None)
"""
WRONG = {
    "lib.ss_sequencer_atach(sequencer, instance, 100, slot)": '"Lib" has no attribute "ss_sequencer_atach"',
    "lib.SLIPSTREAM_OKAY": '"Lib" has no attribute "SLIPSTREAM_OKAY"',
    "lib.ss_sequencer_unhold(sequencer)": "Too few arguments for",
    "lib.ss_os_process(1)": 'Too many arguments for "ss_os_process" of "Lib"',
    "lib.ss_instance_open(queue)": 'has incompatible type "ss_queue"; expected "ss_instance"',
    "lib.ss_sequencer_attach(sequencer, queue, 100, slot)": 'has incompatible type "ss_queue"; expected "ss_instance"',
    'lib.ss_sequencer_attach(sequencer, instance, 100, ffi.new("uint64_t *"))': 'incompatible type "Pointer[uint64_t]"; expected "Pointer[uint32_t]"',
    "lib.ss_sequencer_claim(sequencer, 1, 'text', 100)": 'incompatible type "str"',
    "lib.ss_queue_describe(sequencer, stats)": 'has incompatible type "ss_sequencer"; expected "ss_queue"',
    "stats.sate": '"ss_stats" has no attribute "sate"',
    'ffi.new("ss_stat *")': "No overload variant",
    "lib.ss_status_name(status) + 1": "Unsupported",
    "_native.text(b'bytes')": 'has incompatible type "bytes"; expected "Pointer[char]"',
    "door.block(b'')": "Too few arguments for",
    "door.blocks(b'', None)": '"Door" has no attribute "blocks"',
    "door.staking_reward(b's', b'v', 1, b'2', None)": 'has incompatible type "bytes"; expected "int"',
}


@pytest.mark.slow
@pytest.mark.no_asan
def test_mypy_sees_what_is_wrong(tmp_path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(GOOD + "".join(f"{line}\n" for line in WRONG))
    first = GOOD.count("\n") + 1
    done = subprocess.run(
        [
            *[sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")],
            *["--follow-imports=silent", "--hide-error-context", "--no-error-summary"],
            *["--cache-dir", str(tmp_path / "cache"), str(snippet)],
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found = {
        int(number): text
        for _file, number, text in (
            line.split(":", 2) for line in done.stdout.splitlines() if ": error:" in line
        )
    }
    assert not done.stderr
    assert min(found) == first, f"what is right is refused: {done.stdout}"
    for number, (line, says) in enumerate(WRONG.items(), first):
        assert says in found.get(number, ""), f"{line}: {found.get(number)}"


# ---- What the native functions say of themselves ---------------------------------------------


def test_native_functions_have_signatures_and_docstrings() -> None:
    from slipstream import _core

    functions = [getattr(_core, name) for name in ("encode_frame", "decode_frame", "park")]
    functions += [_core.set_encoder, _core.raise_parked]
    methods = [value for name, value in vars(Door).items() if not name.startswith("_")]
    assert len(methods) == 10
    for function in [*functions, *methods, Door]:
        assert function.__doc__.endswith((".", "numbers.")), function
        parameters = list(inspect.signature(function).parameters.values())
        assert all(parameter.kind is parameter.POSITIONAL_ONLY for parameter in parameters)
    assert str(inspect.signature(Door.block)) == "(self, block, height, encoding=0, /)"
    assert str(inspect.signature(Door)) == "(address, /)"
    assert "ffi" in vars(_core)
    assert ffi is _core.ffi


def test_a_manager_shows_its_native_calls(manager) -> None:
    for name, arguments in {
        "broadcast": "event, /",
        "broadcast_many": "events, /",
        "broadcast_frames": "frames, /",
        "has_subscribers": "kind, /",
        "mapping_update": "program_id, mapping_name, key, value, height, encoding=0, /",
        "mapping_removal": "program_id, mapping_name, key, height, encoding=0, /",
        "staking_reward": "staker, validator, reward, new_stake, height, encoding=0, /",
        "block": "block, height, encoding=0, /",
    }.items():
        own, shown = getattr(manager, name), getattr(PluginManager, name)
        assert str(inspect.signature(own)) == f"({arguments})"
        assert str(inspect.signature(shown)) == f"(self, {arguments})"
        assert pydoc.render_doc(own, renderer=pydoc.plaintext).endswith(
            own.__doc__.splitlines()[-1] + "\n"
        )
        assert own.__doc__ == shown.__doc__
        assert f" {name}(self, {arguments})" in pydoc.render_doc(
            PluginManager, renderer=pydoc.plaintext
        )
        # A look-up in an object is as quick as if the class had nothing of that name.
        assert not any(name in vars(base) for base in PluginManager.__mro__)
    PluginManager.block(manager, b"", 1)
    with pytest.raises(AttributeError, match="'PluginManager' has no attribute 'nothing'"):
        _ = PluginManager.nothing
    with pytest.raises(AttributeError, match="'PluginManager' object has no attribute 'nothing'"):
        _ = manager.nothing


@pytest.mark.parametrize("instance", [False, True])
def test_mock_checks_the_calls_of_a_manager(instance) -> None:
    fake = create_autospec(PluginManager, instance=instance)
    fake = fake if instance else fake()
    fake.broadcast(b"")
    fake.block(b"", None)
    fake.broadcast.assert_called_once_with(b"")
    for wrong in (
        fake.broadcast,
        fake.load_plugin,
        lambda: fake.broadcast(event=b""),
        lambda: fake.block(b""),
        lambda: fake.mapping_update(b"", b"", b"", 1),
    ):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(AttributeError):
        fake.broadcasts(b"")


def test_a_manager_goes_with_other_bases() -> None:
    class Hosting(PluginManager, ABC):
        def broadcast_twice(self, event: object) -> None:
            self.broadcast(event)
            self.broadcast(event)

    with Hosting() as manager:
        manager.broadcast_twice(Block(b"", 1))
    assert str(inspect.signature(Hosting.broadcast)) == "(self, event, /)"
