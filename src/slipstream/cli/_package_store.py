"""The commands of ``slipstream package`` for those who use packages."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slipstream._platform import make_private_folder
from slipstream.errors import ConfigError, PackageError
from slipstream.text import printable

from ._output import emit, say
from ._package_show import described, lines_of
from ._paths import PATH
from ._tables import show_table

if TYPE_CHECKING:
    from slipstream.packages.archive import Archive
    from slipstream.packages.central import CentralClient
    from slipstream.packages.names import PackageName
    from slipstream.packages.providers import Providers
    from slipstream.packages.settings import PluginSettings
    from slipstream.packages.store import Store

_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_name = click.argument("name", metavar="NAME")
_version = click.argument("version", metavar="VERSION")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where packages lie, and what is wanted of them.

    Attributes:
        providers: The settings' plugins.
        store: The folder, its lock and keys.
    """

    providers: Providers

    @property
    def store(self) -> Store:
        return self.providers.store

    @property
    def settings(self) -> PluginSettings:
        return self.providers.settings

    @contextmanager
    def central(self) -> Iterator[CentralClient]:
        """Reach the central.

        Raises:
            ConfigError: The settings name none.
        """
        from slipstream.packages.central import CentralClient  # noqa: PLC0415 - as below

        if self.settings.central is None:
            raise ConfigError(
                f"{printable(str(self.settings.source))} names no central",
                "add central to it, or give the package's file",
            )
        make_private_folder(self.store.folder)
        with CentralClient(self.settings.central, self.store.folder, progress=_bar()) as client:
            yield client


def _bar() -> Callable[[int, int], None]:
    """Return what shows how far a download is, for people who look at it."""
    if not sys.stderr.isatty():
        return lambda _done, _all: None

    def show(done: int, whole: int) -> None:
        width = 30 * done // max(whole, 1)
        ended = "\n" if done >= whole else ""
        sys.stderr.write(
            f"\r[{'#' * width:<30}] {done / 2**20:.1f} of {whole / 2**20:.1f} MiB{ended}"
        )
        sys.stderr.flush()

    return show


def verifying(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that say how packages are verified; it gets `flags`."""

    @functools.wraps(command)
    def with_flags(
        *, skip_verify: bool, local_verify: bool, public_key: str, first_use: bool, **more: Any
    ) -> Any:
        from slipstream.packages.flags import Flags  # noqa: PLC0415 - `--help` is quicker

        flags = Flags(
            skip_verify=skip_verify,
            local_verify=local_verify,
            public_key=public_key,
            trust_on_first_use=first_use,
        )
        return command(flags=flags, **more)

    for option in (
        click.option(
            "--plugins.trust-on-first-use",
            "first_use",
            is_flag=True,
            help="Take the key that the central gives, once; from then on it has to stay the same.",
        ),
        click.option(
            "--plugins.publickey",
            "public_key",
            default="",
            metavar="URI",
            help="The public key for --plugins.localverify; by default Central.pgp.pk in baseDir.",
        ),
        click.option(
            "--plugins.localverify",
            "local_verify",
            is_flag=True,
            help="Verify by a key and signatures on this disk alone.",
        ),
        click.option(
            "--plugins.skipverify",
            "skip_verify",
            is_flag=True,
            help="Do not check signatures; plugins.lock is still checked.",
        ),
    ):
        with_flags = option(with_flags)
    return with_flags


def _placed(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where packages lie; it gets `place`."""

    @verifying
    @functools.wraps(command)
    def with_place(
        *, plugins: str, data_dir: Path | None, network: str, flags: Any, **more: Any
    ) -> Any:
        from slipstream.packages.providers import Providers  # noqa: PLC0415 - as above
        from slipstream.packages.settings import path_of_uri, read_settings  # noqa: PLC0415
        from slipstream.server.data_dir import usual_folder  # noqa: PLC0415 - as above

        settings = read_settings(path_of_uri(plugins, "plugins"))
        data = (data_dir or usual_folder(network)).absolute()
        return command(place=_Place(Providers(settings, flags, data, say=say)), **more)

    for option in (
        click.option("--network", default="mainnet", metavar="NAME", help="Of the daemon."),
        click.option(
            "--data-dir",
            metavar="DIR",
            envvar="SLIPSTREAM_DATA_DIR",
            type=PATH,
            help="The daemon's folder, where packages are unless baseDir says otherwise.",
        ),
        click.option(
            "--plugins",
            metavar="URI",
            envvar="SLIPSTREAM_PLUGINS",
            default="plugins.json",
            show_default=True,
            help="The settings file; plugins.lock is beside it.",
        ),
    ):
        with_place = option(with_place)
    return with_place


@click.command(epilog="Example: slipstream package install hello 1.0.0 --plugins plugins.json")
@click.argument("what", metavar="[PACKAGE | NAME VERSION]", nargs=-1)
@_placed
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
def install(*, place: _Place, what: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Verify a package, keep it, and write it into plugins.lock.

    PACKAGE is a file. NAME VERSION is fetched from the central. Without either, all that the
    settings want is fetched, unless it is installed.
    """
    done: list[Archive] = []
    if len(what) == 1:
        done.append(_install_file(place, Path(what[0]), ask=not yes and not as_json))
    else:
        wanted = [_wanted(*what)] if what else _missing(place)
        if wanted:
            with place.central() as client:
                for package in wanted:
                    found, signatures = client.fetch(package)
                    _ask(found, ask=not yes and not as_json)
                    place.store.add(found, signatures, _origin(place))
                    done.append(found)
    _tell(done, "installed", as_json=as_json)


def _origin(place: _Place) -> str:
    central = place.settings.central
    return "local" if central is None else central.origin


def _wanted(*what: str) -> PackageName:
    from slipstream.packages.names import PackageName  # noqa: PLC0415 - as above

    if len(what) != 2:
        raise click.UsageError("give the file of a package, or a name and a version")
    return PackageName(*what)


def _missing(place: _Place) -> list[PackageName]:
    lock = place.store.lock().packages
    wanted = [_wanted(one.name, one.version) for one in place.settings.providers.values()]
    return [
        one
        for one in wanted
        if not (place.store.find(one) and any(str(name) in lock for name in one.candidates()))
    ]


def _install_file(place: _Place, path: Path, *, ask: bool) -> Archive:
    from slipstream.packages.archive import Archive  # noqa: PLC0415 - as above
    from slipstream.packages.trust import LOCAL, read_signatures  # noqa: PLC0415 - as above

    found = Archive.read(path)
    _ask(found, ask=ask)
    place.store.add(found, read_signatures(path), LOCAL)
    return found


def _ask(found: Archive, *, ask: bool) -> None:
    """Show what the library says of itself before it is installed."""
    if not ask:
        return
    say(lines_of(described(found)))
    if sys.stdin.isatty():
        click.confirm(f"install {found.package}?", abort=True, err=True)


def _tell(done: list[Archive], word: str, *, as_json: bool) -> None:
    if as_json:
        said = [{"package": str(one.package), "sha256": one.digest} for one in done]
        emit(json.dumps({word: said}) + "\n")
        return
    emit("".join(f"{one.package} is {word}\n" for one in done) or f"nothing had to be {word}\n")


@click.command(epilog="Example: slipstream package update --plugins plugins.json")
@click.argument("what", metavar="[NAME [VERSION]]", nargs=-1)
@_placed
@_json
def update(*, place: _Place, what: tuple[str, ...], as_json: bool) -> None:
    """Fetch the newest version of what the settings want, or of NAME, and lock it, too.

    This does not change which version runs: the settings say that, or slipstream plugins upgrade.
    """
    if len(what) > 2:
        raise click.UsageError("give a name, or a name and a version")
    done: list[Archive] = []
    with place.central() as client:
        names = [what[0]] if what else sorted({p.name for p in place.settings.providers.values()})
        for name in names:
            package = _wanted(*what) if len(what) == 2 else _newest(place, client, name)
            if package is None:
                continue
            found, signatures = client.fetch(package)
            place.store.add(found, signatures, _origin(place))
            done.append(found)
    _tell(done, "updated", as_json=as_json)


def _newest(place: _Place, client: CentralClient, name: str) -> PackageName | None:
    """Return the newest version at the central, unless it is locked or older than what is."""
    from slipstream.packages.names import version_key  # noqa: PLC0415 - as above
    from slipstream.packages.store import parse_name  # noqa: PLC0415 - as above

    index = client.index()
    if index is None:
        raise PackageError("the central has no index.json", "give the version, too")
    offered = [one for one in map(parse_name, index) if one and one.name == name]
    offered = [one for one in offered if one.is_for_here]
    if not offered:
        raise PackageError(f"the central has no {printable(name)} for this machine", "see its list")
    newest = max(offered, key=lambda one: version_key(one.version))
    locked = [one for one in map(parse_name, place.store.lock().packages) if one]
    for one in locked:
        if one.name == name and version_key(one.version) > version_key(newest.version):
            raise PackageError(
                f"the central's newest {name} is {newest.version}, older than {one.version}, which "
                "is locked: it may be an old one, replayed",
                f"ask whoever runs it; slipstream package update {name} {newest.version} takes it",
            )
    is_here = place.store.find(newest) is not None
    return None if newest in locked and is_here else newest


@click.command("list", epilog="Example: slipstream package list --plugins plugins.json")
@_placed
@_json
def list_(*, place: _Place, as_json: bool) -> None:
    """List the packages that are installed, and what the lock knows of them."""
    lock = place.store.lock()
    rows: list[dict[str, Any]] = []
    for one in place.store.packages():
        known = lock.find(one)
        rows.append(
            {
                "package": str(one),
                "here": place.store.path_of(one).exists(),
                "sha256": None if known is None else known.sha256,
                "signer": None if known is None else known.signer,
                "origin": None if known is None else known.origin,
            }
        )
    if as_json:
        emit(json.dumps({"packages": rows}) + "\n")
        return
    heads = ("package", "here", "sha256", "signer", "origin")
    shown = [
        (
            row["package"],
            "yes" if row["here"] else "no",
            str(row["sha256"] or "not locked")[:16],
            row["signer"] or "",
            row["origin"] or "",
        )
        for row in rows
    ]
    show_table(heads, shown)


@click.command(epilog="Example: slipstream package remove hello 1.0.0 --plugins plugins.json")
@_name
@_version
@_placed
def remove(*, place: _Place, name: str, version: str) -> None:
    """Remove a package from the folder and from plugins.lock."""
    wanted = _wanted(name, version)
    gone = [one for one in wanted.candidates() if place.store.remove(one)]
    if not gone:
        raise PackageError(f"{name} {version} is not installed", "slipstream package list")
    emit("".join(f"{one} is removed\n" for one in gone))


@click.command(epilog="Example: slipstream package prune --keep 2 --plugins plugins.json")
@click.option(
    "--keep",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    metavar="N",
    help="How many versions of each stay.",
)
@_placed
def prune(*, place: _Place, keep: int) -> None:
    """Remove all but the newest versions of each package; what is used stays."""
    providers = place.providers
    used = {
        (provider.name, version)
        for interface, provider in place.settings.providers.items()
        for version in {provider.version, *providers.versions_of(interface)}
    }
    gone = place.store.prune(used, keep=keep)
    emit("".join(f"{one} is removed\n" for one in gone) or "nothing had to be removed\n")
