"""slipstream token, beside a host that verifies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipstream.server import Tokens
from slipstream.server.answers import Refused


def test_issue_list_revoke_rotate(command, tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path))
    host = Tokens(tmp_path)
    done = command("token", "issue", "grafana", *where, "--scope", "metrics:read", "--life", "1h")
    assert done.returncode == 0, done.stderr
    token = done.stdout.strip()
    caller = host.verify(token)
    assert (caller.subject, caller.scopes) == ("grafana", {"metrics:read"})
    assert "grafana" in command("token", "list", *where).stdout
    (listed,) = json.loads(command("token", "list", *where, "--json").stdout)
    assert listed["jti"] == caller.token
    assert listed["exp"] - listed["iat"] == 3600
    assert token not in json.dumps(listed)
    done = command("token", "revoke", caller.token[:-1], *where)
    assert done.returncode == 2
    assert "is not the number (jti) of a token" in done.stderr
    assert f"next: slipstream token list --data-dir {tmp_path} shows the numbers" in done.stderr
    other = "0" * 32
    done = command("token", "revoke", other, *where)
    assert done.stdout == f"{other}, which was not issued here, is revoked\n"
    assert host.verify(token) == caller
    done = command("token", "revoke", caller.token, *where)
    assert done.stdout == f"{caller.token} of grafana is revoked\n"
    with pytest.raises(Refused, match="revoked"):
        host.verify(token)
    token = json.loads(command("token", "issue", "me", *where, "--json").stdout)["token"]
    assert host.verify(token).subject == "me"
    assert command("token", "rotate", *where, "--grace", "0").returncode == 0
    with pytest.raises(Refused):
        host.verify(token)


@pytest.mark.parametrize(
    ("life", "seconds"), [("90s", 90), ("2m", 120), ("3h", 10_800), ("30d", 2_592_000)]
)
def test_each_unit_of_a_time(command, tmp_path: Path, life: str, seconds: int) -> None:
    where = ("--data-dir", str(tmp_path))
    assert command("token", "issue", "x", *where, "--life", life).returncode == 0
    (listed,) = json.loads(command("token", "list", *where, "--json").stdout)
    assert listed["exp"] - listed["iat"] == seconds


def test_what_it_does_not_understand(command, tmp_path: Path) -> None:
    where = ("--data-dir", str(tmp_path))
    for arguments, code in (
        (("issue", "../x", *where), 3),
        (("issue", "x", *where, "--scope", "all"), 3),
        (("issue", "x", *where, "--life", "soon"), 2),
        (("issue", "x", *where, "--life", "30"), 2),
        (("rotate", *where, "--grace", "1"), 2),
        (("issue", "x", "--data-dir", str(tmp_path / "nix")), 2),
        (("list", *where, "--network", "devnet"), 2),
    ):
        done = command("token", *arguments)
        assert done.returncode == code, done.stderr
        assert "next: " in done.stderr


def test_a_scope_that_there_is_not(command, tmp_path: Path) -> None:
    done = command("token", "issue", "x", "--data-dir", tmp_path, "--scope", "admin")
    assert "error: there is no scope 'admin'\n  next: use some of plugins:read" in done.stderr


def test_a_library_that_is_missing(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['jwt'] = None; from slipstream.cli import main;"
        f"sys.exit(main(['token', 'list', '--data-dir', {str(tmp_path)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "pip install 'slipstream[server]'" in done.stderr
    assert "Traceback" not in done.stderr
