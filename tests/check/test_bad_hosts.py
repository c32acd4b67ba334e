"""Each check of the probe is shown to fail, by a host that breaks its rule and no other."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.probed import CONFORMANCE, ROOT, Probed, build_probes, check_ids, check_rules

HERE = Path(__file__).parent
PAGE = ROOT / "docs" / "conformance-host.md"


@pytest.fixture(scope="module")
def bad_host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    program = tmp_path_factory.mktemp("bad_host") / "bad_host"
    sources = sorted(map(str, HERE.glob("bad_*.c")))
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{ROOT / 'include'}"]
    subprocess.run(
        [compiler, *flags, "-o", str(program), *sources, "-pthread", "-ldl"],
        check=True,
        timeout=600,
    )
    build_probes()
    return program


def run(bad_host: Path, mode: str, folder: Path) -> tuple[Probed, str]:
    """The report of a host in a mode, and what is in its log."""
    probed = Probed(folder)
    done = subprocess.run(
        [str(bad_host), mode, str(build_probes()), str(probed.path)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return probed, done.stderr


# After its last line, or in another process; by a log that works.
UNCOUNTED = {"order.destroy", "call.process"}
UNLOGGED = {"host.function", "host.size", "unload.log"}


@pytest.mark.parametrize("rule", check_ids())
def test_its_own_check_fails_and_no_other(bad_host: Path, rule: str, tmp_path: Path) -> None:
    probed, log = run(bad_host, rule, tmp_path)
    assert {line["violation"] for line in probed.of("violation")} == {rule}
    if rule == "order.no-destroy":  # the host's table may be gone by then
        assert probed.of("done") == []
        return
    if rule not in UNCOUNTED:
        assert sum(line["violations"] for line in probed.of("done")) > 0
    if rule not in UNCOUNTED | UNLOGGED:
        assert re.search(rf"^5 probe\.{re.escape(rule)}: .+; the rule: ", log, re.MULTILINE), log


MODES = ["good", "good-single", "good-batch", "good-ack"]
# What only a host can be tried for that breaks it, that has no worker, or that restarts one.
BY_BAD_HOSTS_ONLY = {"order.no-destroy", "call.delivery-thread", "retry.again"}


def test_a_good_host_breaks_no_rule_and_every_check_is_made(bad_host: Path, tmp_path: Path) -> None:
    tried: set[str] = set()
    for mode in MODES:
        folder = tmp_path / mode
        folder.mkdir()
        probed, log = run(bad_host, mode, folder)
        assert "probe." not in log
        probed.assert_kept(2 if mode == "good" else 1)
        tried |= probed.tried()
    assert set(check_ids()) - tried <= BY_BAD_HOSTS_ONLY | {"order.flush-unasked", "call.second"}


def test_every_check_has_its_bad_host_and_the_other_way_round(bad_host: Path) -> None:
    modes = subprocess.run(
        [str(bad_host), "--modes"], capture_output=True, text=True, timeout=240, check=True
    ).stdout.split()
    assert modes == [*MODES, *check_ids()]


def test_the_page_lists_every_check_with_its_rule() -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## The checks")[2]
    assert re.findall(r"^\| `(\S+)` \| (.+) \|$", text, re.MULTILINE) == check_rules()


def test_the_page_lists_every_key() -> None:
    source = (CONFORMANCE / "load.c").read_text("utf-8") + (CONFORMANCE / "probe.c").read_text(
        "utf-8"
    )
    keys = set(re.findall(r'\{"([a-z_]+)", offsetof', source))
    keys |= set(re.findall(r'json_find\(&own, "([a-z_]+)"', source))
    assert len(keys) > 15
    rows = re.findall(r"^\| `([a-z_]+)` \| ", PAGE.read_text("utf-8"), re.MULTILINE)
    assert sorted(keys) == sorted(rows)
