"""Python's readers of foreign bytes that have no such test of their own: whatever they are given,
they give back what it says, or one of the errors that they name. Those of C are in tests/fuzz.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipstream import capture, frames
from slipstream._native import ffi
from slipstream.check import fuzz, play, symbols
from slipstream.errors import CaptureError, ConfigError, PackageError, SlipstreamError
from slipstream.events import Block, Mark, Meta
from slipstream.packages import lock, meta, minisign
from slipstream.server import actions, token_files
from slipstream.server.answers import Refused
from slipstream.server.tokens import Tokens
from slipstream.streams.dead_letters import DEAD_LETTER, DeadLetter, dead_letter_of

DEEP = b'{"a":' * 30_000
FRAME = frames.encode(Block(b"block", 7, Meta(stream=1, sequence=2, time_ns=3)))
LETTER = b'{"plugin": "p", "version": "1", "ordinal": 4, "status": -7, "text": "no", "time": 5}'
# Every test writes one small file again and again.
USUAL = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def like(draw: st.DrawFn, *whole: bytes) -> bytes:
    """One of these, with some bytes changed, put in or left out; or anything."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        new = draw(
            st.binary(max_size=4) | st.sampled_from([b"\0", b"\xff" * 4, b'"', b"[", b"1e999"])
        )
        data[at : at + draw(st.integers(0, 4))] = new
    return draw(st.just(bytes(data)) | st.binary(max_size=64))


def read_or(reader: Callable[[], object], *errors: type[Exception]) -> None:
    """Whatever comes of it, it is no other error than these."""
    try:
        reader()
    except errors as error:
        if isinstance(error, SlipstreamError):
            assert error.message
            assert error.hint


@given(like(capture.HEADER + 2 * FRAME, capture.HEADER, FRAME))
@USUAL
def test_captures(tmp_path: Path, data: bytes) -> None:
    def read() -> None:
        file = io.BytesIO(data)
        capture.read_header(file, "it")
        for frame in capture.read_frames(file, "it"):
            assert len(frame) == int.from_bytes(frame[:4], "little")
            frames.decode(frame)

    read_or(read, CaptureError, SlipstreamError)
    path = tmp_path / "it.slip"
    path.write_bytes(data)

    def append() -> None:
        os.close(capture.open_for_append(path))
        assert (
            path.read_bytes() == data[: path.stat().st_size] or path.read_bytes() == capture.HEADER
        )

    read_or(append, CaptureError)


@given(like(LETTER, DEEP[:20], b'{"plugin": "\\ud800"}', b'{"plugin": "\xff"}'))
@USUAL
def test_dead_letters(body: bytes) -> None:
    found = dead_letter_of(Mark(DEAD_LETTER, body))
    assert found is None or found.said


@pytest.mark.parametrize("body", [b'{"plugin": "p", "x": ' + DEEP, b'{"plugin": "\xff"}'])
def test_letters_that_cannot_be_read(body: bytes) -> None:
    assert dead_letter_of(Mark(DEAD_LETTER, body)) is None
    assert isinstance(dead_letter_of(Mark(DEAD_LETTER, LETTER)), DeadLetter)


LOCK = json.dumps({"form": 1, "packages": {"a/b": {"sha256": "0" * 64, "version": "1"}}}).encode()


@given(like(LOCK, DEEP[:20]))
@USUAL
def test_locks(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lock.json"
    path.write_bytes(data)
    read_or(lambda: lock.Lock.read(path), PackageError)


META = b'{"name": "a/b", "version": "1.0.0", "entrypoint": "a.so", "abi": 1, "licence": "x"}'


@given(like(META, DEEP[:20]))
@USUAL
def test_meta_files(data: bytes) -> None:
    read_or(lambda: meta.read_meta(data, "it"), PackageError)


KEY = minisign.generate()
CONTENT = memoryview(b"content")
SIGNATURE = minisign.sign(KEY, CONTENT, "a label").encode()


@given(like(KEY.public.to_text().encode(), minisign.write_secret(KEY).encode(), SIGNATURE))
@USUAL
def test_keys_and_signatures(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    read_or(lambda: minisign.read_public(text, "it"), PackageError)
    read_or(lambda: minisign.read_secret(text, "it"), PackageError)
    read_or(lambda: minisign.verify(KEY.public, CONTENT, text, "it"), PackageError)


TOKEN = base64.urlsafe_b64encode(b'{"alg": "HS256", "kid": "x"}').rstrip(b"=") + b".e30.AAAA"


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return Tokens(tmp_path_factory.mktemp("tokens"))


@given(st.data())
@USUAL
def test_tokens(tokens: Tokens, data: st.DataObject) -> None:
    whole = data.draw(like(TOKEN))
    parts = [
        base64.urlsafe_b64encode(data.draw(st.binary(max_size=40))).rstrip(b"=") for _ in "abc"
    ]
    for text in (whole, b".".join(parts)):
        read_or(lambda: tokens.caller([f"Bearer {text.decode('latin-1')}"]), Refused)  # noqa: B023


KNOWN = (
    b'{"not_before": 1.5}\n{"revoked": "a"}\n{"issued": {"jti": "a", "sub": "s", "scope": "r", '
    b'"iat": 1, "exp": 2, "kid": "k"}}\n'
)
KEYS = (
    b"k "
    + base64.b64encode(bytes(32))
    + b" 1.0\nold "
    + base64.b64encode(bytes(32))
    + b" 1.0 2.0\n"
)


@given(like(KNOWN, KEYS, DEEP[:20]))
@USUAL
def test_files_of_tokens(tmp_path: Path, data: bytes) -> None:
    for reader in (token_files._keys_of, token_files._known_of):
        for text in (data, data + token_files._seal(data) + b"\n"):
            path = tmp_path / "it"
            path.write_bytes(text)
            read_or(token_files.Followed(path, "it", reader).now, ConfigError)


REPORT = b'{"backtrace": [{"module": "m", "offset": 1}], "time": 5}'


@given(like(REPORT, DEEP[:20], b'{"time": "5"}', b'{"time": 1e999}', b"{}", b"[]"))
@USUAL
def test_crash_reports(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "crash-p-1.json"
    path.write_bytes(data)
    read_or(lambda: symbols.read_report(path), SlipstreamError)
    (tmp_path / "crash-p-2.json").write_bytes(REPORT)
    plugin = SimpleNamespace(folder=tmp_path, name="p", last_crash=None)
    assert json.loads(REPORT) in actions._crashes(plugin)  # type: ignore[arg-type]


@given(like(fuzz._MAGIC + b'{"library": "/x"}\n' + FRAME, FRAME, fuzz._MAGIC + DEEP[:20] + b"\n"))
@USUAL
def test_inputs_of_the_checker(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "input"
    path.write_bytes(data)
    read_or(lambda: fuzz.load(path), SlipstreamError)


@given(st.lists(st.binary(max_size=8), max_size=3), st.data())
@USUAL
def test_notes_of_the_checkers_player(texts: list[bytes], data: st.DataObject) -> None:
    """A plugin finds the pipe, and not the number: what it writes there ends the list at most."""
    nonce = 77
    whole = b""
    for text in texts:
        head = ffi.new("ss_played *", {"nonce": nonce, "what": 5, "len": len(text), "a": 1})
        whole += bytes(ffi.buffer(head)) + text
    player = SimpleNamespace(_nonce=nonce)
    good = list(play._Player._records(player, whole))  # type: ignore[arg-type]
    assert [one.text for one in good] == texts
    changed = data.draw(like(whole or b"x"))
    assert len(list(play._Player._records(player, changed))) <= len(changed)  # type: ignore[arg-type]


def test_what_lies_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "crash-p-1.json"
    path.write_bytes(DEEP)
    plugin = SimpleNamespace(folder=tmp_path, name="p", last_crash=None)
    assert actions._crashes(plugin) == []  # type: ignore[arg-type]
    with pytest.raises(SlipstreamError, match="not a crash report"):
        symbols.read_report(path)
    with pytest.raises(PackageError, match="is damaged"):
        lock.Lock.read(path)
    path.write_bytes(fuzz._MAGIC + DEEP + b"\n")
    with pytest.raises(SlipstreamError, match="is damaged"):
        fuzz.load(path)
    path.write_bytes(DEEP + b"\n" + token_files._seal(DEEP + b"\n") + b"\n")
    with pytest.raises(ConfigError, match="is cut off or damaged"):
        token_files.Followed(path, "it", token_files._known_of).now()
