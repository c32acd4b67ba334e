"""The mailbox keeps each message once and in order, and is excellent, as the checker sees it."""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from slipstream import events
from slipstream._native import lib
from slipstream.check.catalogue import catalogue
from slipstream.check.given import subject_of
from slipstream.check.suite import explore, run_checks
from slipstream.testing import FakeHost

PUT, SEALED = b"org.example.mailbox.put", b"org.example.mailbox.sealed"
MALFORMED = lib.SLIPSTREAM_MALFORMED
ALICE, BOB = b"alice", b"bob"
CHECKED = (
    *(name for name in catalogue() if name.startswith("peers.")),
    *("contract.claims", "events.run", "events.run-undone", "events.repeated", "events.no-nul"),
)


def put(number: int, body: bytes = b"hello", *, sender=ALICE, oldest: int = 1, name: bytes = PUT):
    return events.Payload(name, struct.pack("<QQ", number, oldest) + body, source=sender)


class Box:
    """A mailbox in a host without peers, and a look into its file."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.path = folder / "mailbox.db"
        self.host = FakeHost(library, {"database": str(self.path)})

    def rows(self, sql: str = "SELECT sender, number, body FROM messages ORDER BY id"):
        self.host.flush()
        with closing(sqlite3.connect(self.path)) as db:
            return db.execute(sql).fetchall()


@pytest.fixture
def box(built: Path, tmp_path: Path):
    box = Box(built / "mailbox" / "mailbox.so", tmp_path)
    with box.host:
        yield box
        assert not box.host.misbehaviour


def test_keeps_each_message_once_in_the_order_of_its_sender(box: Box) -> None:
    for event in (put(1), put(2, b"b"), put(2, b"again"), put(4, b"early"), put(3, b"c")):
        assert box.host.deliver(event).ok
    assert box.host.deliver(put(1, b"x", sender=BOB)).ok
    assert box.host.deliver(put(9, b"after a hole that nobody fills", oldest=9)).ok
    assert box.rows() == [
        (ALICE, 1, b"hello"),
        (ALICE, 2, b"b"),
        (ALICE, 3, b"c"),
        (BOB, 1, b"x"),
        (ALICE, 9, b"after a hole that nobody fills"),
    ]


def test_a_forgotten_peer_leaves_no_row_and_may_come_back(box: Box) -> None:
    seen = events.PeerSeen(ALICE, public_key=b"k" * 32, name=b"Alice", via=1)
    for event in (seen, put(1), put(2), put(1, sender=BOB), events.PeerForgotten(ALICE)):
        assert box.host.deliver(event).ok
    assert box.rows() == [(BOB, 1, b"hello")]
    assert box.rows("SELECT count(*) FROM peers UNION ALL SELECT count(*) FROM senders") == [
        (0,),
        (1,),
    ]
    assert box.host.deliver(put(5, oldest=5)).ok
    assert box.rows()[-1] == (ALICE, 5, b"hello")


def test_a_message_without_number_or_sender_is_refused(box: Box) -> None:
    assert box.host.deliver(events.Payload(PUT, b"short", source=ALICE)).status == MALFORMED
    assert box.host.deliver(put(1, sender=None)).status == MALFORMED
    assert box.host.deliver(events.Payload(b"org.example.other", b"", source=ALICE)).ok
    assert box.rows() == []


def test_what_nobody_opens_is_kept_in_its_box(box: Box) -> None:
    assert box.host.deliver(put(1, b"a box", name=SEALED)).ok
    assert box.rows("SELECT body, sealed FROM messages") == [(b"a box", 1)]


def test_is_excellent_with_messages_that_it_keeps(built: Path) -> None:
    messages = [put(number) for number in (1, 2)] + [put(3, b"a box", name=SEALED)]
    subject = subject_of(built / "mailbox" / "mailbox.so", events={events.Payload.kind: messages})
    explore(subject)
    assert subject.claims == subject.taken == (PUT, SEALED)
    assert len(list(subject.samples())) == 5
    results = {r.check.id: r for r in run_checks(subject, CHECKED, jobs=2)}
    assert {name: str(r.verdict) for name, r in results.items() if r.verdict != "pass"} == {}
