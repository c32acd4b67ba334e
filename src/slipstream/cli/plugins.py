"""``slipstream plugins``: see and steer the plugins of a running daemon."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipstream.text import counted, printable

from ._daemon import complete_plugin, reaches_daemon
from ._errors import NOT_STARTED, Ended
from ._output import emit
from ._paths import PATH
from ._tables import show_table

if TYPE_CHECKING:
    from slipstream.server.client import Client

_name = click.argument("name", shell_complete=complete_plugin)
_LEFT_OUT = {"counters", "callback", "config", "last_crash", "metrics", "kinds"}


@click.group(epilog="Example: slipstream plugins status ledger")
def plugins() -> None:
    """See and steer the plugins of a running daemon.

    The commands use the admin socket in the daemon's data folder, which needs no token. From
    another machine, use --url and --token-file.
    """


def _show(said: object) -> None:
    emit(json.dumps(said) + "\n")


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + " UTC"


def _text(value: object) -> str:
    return printable(str(value))


def _plain(value: object) -> object:
    if value is None:
        return "-"
    return json.dumps(value) if isinstance(value, dict | list) else value


@plugins.command("list")
@reaches_daemon
def list_plugins(*, client: Client, as_json: bool) -> None:
    """List the loaded plugins with their states."""
    found = client.plugins()
    if as_json:
        _show({"network": client.network, "plugins": found})
        return
    numbers = ("accepted", "lag", "dead", "lost", "restarts")
    rows = []
    for one in found:
        counts, package = {**one["counters"], "restarts": one["restarts"]}, one["package"] or {}
        texts = [one["name"], one["state"], one["version"], one["mode"]]
        texts += [package.get("package", "-"), package.get("signer", "-")]
        texts.append(package.get("digest", one["digest"])[:12])
        row = [*texts, *(counts[name] for name in numbers), one["reason"]]
        rows.append([_text(cell) for cell in row])
    heads = ("plugin", "state", "version", "mode", "package", "signer", "digest")
    dull = ("package", "signer", "lag", "dead", "lost", "restarts", "reason")
    show_table((*heads, *numbers, "reason"), rows, numbers=numbers, dull=dull)


@plugins.command()
@_name
@reaches_daemon
def status(*, client: Client, as_json: bool, name: str) -> None:
    """Show everything that is known of a plugin."""
    found = client.status(name)
    if as_json:
        _show(found)
        return
    lines = [(key, value) for key, value in found.items() if key not in _LEFT_OUT]
    lines = [(key, _stamp(value) if key == "since" else value) for key, value in lines]
    lines.append(("kinds", " ".join(found["kinds"])))
    lines += found["counters"].items()
    timed = found["callback"]
    if timed["count"]:
        lines.append(("callback", f"{timed['total_ns'] / timed['count'] / 1000:.1f} us on average"))
    lines += [(f"{one['name']} {one['label']}".strip(), one["value"]) for one in found["metrics"]]
    config = found["config"] or {}
    lines += [(f"config {key}", json.dumps(value)) for key, value in config.items()]
    width = max(len(str(key)) for key, _ in lines)
    emit("".join(f"{key!s:<{width}}  {_text(_plain(value))}\n" for key, value in lines))
    if found["last_crash"]:
        emit("last crash\n" + _crash(found["last_crash"]))


def _crash(report: dict[str, Any]) -> str:

    def place(module: str, offset: str) -> str:  # the library rather than the copy of it that ran
        return f"{_text(report['path'] if module == report['copy'] else module)} + {offset}\n"

    where = "  in " + place(report["module"], report["module_offset"]) if report["module"] else ""
    calls = "".join(
        "    " + place(call["module"], call["offset"]) for call in report["backtrace"][:8]
    )
    said = "".join(f"    | {_text(line)}\n" for line in report["lines"][-8:])
    event = f"event {report['ordinal']}" if report["ordinal"] else "no event was under way"
    return (
        f"{_stamp(report['time'])}  {_text(report['reason'])}\n{where}"
        f"  {event}, acknowledged {report['acknowledged']}\n{calls}{said}"
    )


@plugins.command()
@click.argument("config_file", metavar="CONFIG", type=PATH)
@reaches_daemon
def load(*, client: Client, as_json: bool, config_file: Path) -> None:
    """Load a plugin from a config file below one of the daemon's config folders."""
    path = str(config_file.absolute())
    done = _changing(lambda: client.load(path), path)
    _show(done) if as_json else emit(f"{_text(done['loaded'])} is loaded\n")


@plugins.command()
@_name
@click.argument(
    "config_file",
    metavar="[CONFIG]",
    required=False,
    type=PATH,
)
@reaches_daemon
def reload(*, client: Client, as_json: bool, name: str, config_file: Path | None) -> None:
    """Load a plugin's library and config anew, and let it take over."""
    path = "" if config_file is None else str(config_file.absolute())
    done = _changing(lambda: client.reload(name, path), path or f"the config of {name}")
    text = f"{name} is reloaded: {done['previous_version']} was there, {done['version']} is now\n"
    _show(done) if as_json else emit(text)


def _say_version(name: str, done: dict[str, Any], *, as_json: bool) -> None:
    text = f"{name}: {done['previous_version']} was there, {done['version']} is now\n"
    _show(done) if as_json else emit(text)


@plugins.command()
@_name
@click.argument("version", metavar="VERSION")
@reaches_daemon
def upgrade(*, client: Client, as_json: bool, name: str, version: str) -> None:
    """Run another installed version of a plugin's package, from now on."""
    _say_version(name, _changing(lambda: client.upgrade(name, version)), as_json=as_json)


@plugins.command()
@_name
@reaches_daemon
def rollback(*, client: Client, as_json: bool, name: str) -> None:
    """Run the version of a plugin's package again that ran before."""
    _say_version(name, _changing(lambda: client.steer(name, "rollback")), as_json=as_json)


@plugins.command()
@_name
@reaches_daemon
def unload(*, client: Client, as_json: bool, name: str) -> None:
    """Flush and unload a plugin."""
    done = client.unload(name)
    _show(done) if as_json else emit(f"{name} is unloaded\n")


def _changing(do: Callable[[], dict[str, Any]], config: str = "") -> dict[str, Any]:
    """Do something that fails as loading does; `config` says which file it is about."""
    from slipstream.server.client import CallRefused  # noqa: PLC0415 - it needs the extra

    try:
        return do()
    except CallRefused as error:
        if error.code not in (403, 422):
            raise
        message, hint = error.message, error.hint
        if message.startswith("config_file "):  # the daemon's answer is the same for all paths
            message = message.replace("config_file", _text(config), 1)
            hint += "; correct the path, or name its folder: slipstream start --config-dir"
        raise Ended(message, hint, NOT_STARTED) from None


def _steering(what: str, done: str, says: str) -> None:
    @plugins.command(what, help=says)
    @_name
    @reaches_daemon
    def steer(*, client: Client, as_json: bool, name: str) -> None:
        answer = client.steer(name, what)
        _show(answer) if as_json else emit(f"{name} {done}\n")


_steering("pause", "is paused", "Hold a plugin's events back.")
_steering("resume", "goes on", "Deliver to a paused or quarantined plugin again.")
_steering("flush", "has acknowledged everything", "Wait until a plugin has acknowledged all.")


@plugins.command()
@_name
@click.option("--follow", "-f", is_flag=True, help="Go on with lines as they come.")
@click.option(
    "--lines",
    "-n",
    type=click.IntRange(0, 1000),
    default=100,
    show_default=True,
    metavar="N",
    help="The last N lines.",
)
@reaches_daemon
def logs(*, client: Client, as_json: bool, name: str, follow: bool, lines: int) -> None:
    """Show a plugin's last log lines; with --json one object for each."""
    found: Iterable[dict[str, Any]]
    found = client.follow(name, lines) if follow else client.logs(name, lines)
    for line in found:
        if as_json:
            _show(line)
        elif "lost" in line:
            emit(f"... {counted(line['lost'], 'line is', 'lines are')} gone\n")
        else:
            fields = "".join(f" {key}={value}" for key, value in line["fields"].items())
            emit(f"{_stamp(line['time'])} {line['level']:<8}{_text(line['text'] + fields)}\n")


@plugins.command()
@_name
@reaches_daemon
def crashes(*, client: Client, as_json: bool, name: str) -> None:
    """Show the crash reports of a plugin, the newest first."""
    found = client.crashes(name)
    if as_json:
        _show({"crashes": found})
    else:
        emit("".join(map(_crash, found)) or f"{name} has not crashed\n")


@plugins.command("dead-letters")
@_name
@click.option(
    "--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the N oldest."
)
@click.option(
    "--limit", type=click.IntRange(0, 100_000), default=1000, metavar="N", help="At most N."
)
@reaches_daemon
def dead_letters(*, client: Client, as_json: bool, name: str, skip: int, limit: int) -> None:
    """Show what a plugin refused, the oldest first; with --json one object for each."""
    found = False
    for letter in client.dead_letters(name, skip, limit):
        found = True
        if as_json:
            _show(letter)
        elif "error" in letter:
            emit(f"... {_text(letter['error'])}\n")
        else:
            emit(_text(_letter(letter)) + "\n")
    if not (found or as_json) and limit:
        emit(f"{name} has no {'more ' if skip else ''}dead letters\n")


def _letter(letter: dict[str, Any]) -> str:
    said = {**letter}
    event = said.pop("event")
    again = "redelivered" if said.pop("redelivered") else "kept"
    fields = " ".join(f"{key}={value}" for key, value in said.items())
    return f"{event.get('kind')} {again} {fields}"
