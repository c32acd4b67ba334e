"""The checker is a host, too: the probe finds it right wherever a check does no wrong on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipstream.check.catalogue import catalogue
from slipstream.check.subject import Subject
from slipstream.check.suite import explore
from slipstream.check.trial import run
from support.probed import PROBES, Probed, build_probes

pytestmark = pytest.mark.no_asan  # what is checked runs in a program of its own

# What a check does wrong on purpose: all else is a mistake of ours.
ON_PURPOSE = {
    "lifecycle.reasons": {"load.reason"},
    "lifecycle.exit": {"order.no-destroy"},
    "lifecycle.second-instance": {"frame.len", "payload.read"},
    # After a PANIC its host is that of a loaded plugin.
    "contract.panic": {
        *("order.no-unload", "settle.state"),
        *("peers.state", "peers.buffer", "peers.untouched"),
    },
    "contract.reject": {"frame.len", "payload.read"},
    "contract.reserved": {"extension.table"},
    "hostile.kinds": {"kind.unsubscribed"},
    "events.unknown-flags": {"delivery.flags", "frame.flags"},
    "events.grown-payload": {"payload.fixed"},
    "events.grown-header": {"frame.header"},
}
SLOW = {"entry.twenty", "lifecycle.fifty", "lifecycle.wrong-config", "contract.run-1000"}
CALLED = [
    name
    for name in catalogue()
    if name.startswith(("entry.", "table.", "lifecycle.", "subscriptions.", "threads."))
    or name in {"unload.two-copies", "unload.exit", "events.gap", "events.over-read"}
    or (name.startswith("contract.") and name != "contract.host-calls")
    or name in ON_PURPOSE
]


@pytest.fixture(scope="module", autouse=True)
def probes() -> Path:
    return build_probes()


def test_the_checker_keeps_the_contract(tmp_path: Path) -> None:
    probed = Probed(tmp_path)
    subject = Subject(PROBES / "probe-batch.so", {"report": str(probed.path)})
    explore(subject)
    assert not subject.unexplored
    loaded = 0
    for name in CALLED:
        if name in SLOW:
            continue
        probed.path.unlink(missing_ok=True)
        (tmp_path / name).mkdir()
        run(subject, name, tmp_path / name)
        loaded += bool(probed.calls("on_load"))
        broken = {line["violation"]: line["text"] for line in probed.of("violation")}
        # It opens whatever it is given, so that what a plugin does with the content is tried, too.
        broken.pop("identity.open", None)
        meant = {key for key in broken if key in ON_PURPOSE.get(name, ())}
        assert {key: broken[key] for key in broken.keys() - meant} == {}, name
        assert meant == ON_PURPOSE.get(name, set()), name
    assert loaded > 40
