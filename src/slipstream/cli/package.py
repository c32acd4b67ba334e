"""``slipstream package``: make, sign, install and serve packages of plugins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from slipstream.errors import PackageError
from slipstream.text import printable

from ._output import emit, say
from ._package_show import described, lines_of
from ._package_store import install, list_, prune, remove, update
from ._paths import FOLDER, PATH

_PASSWORD = "SLIPSTREAM_KEY_PASSWORD"  # noqa: S105 - the variable's name
_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
_file = click.argument("file", metavar="PACKAGE", type=PATH)
_out = click.option(
    "--out",
    metavar="DIR",
    type=FOLDER,
    default=Path(),
    help="The folder to write to; by default the current one.",
)


@click.group(epilog="Example: slipstream package build ledger.so --name ledger --version 1.0.0")
def package() -> None:
    """Make, sign, install and serve packages of plugins.

    A package is a zip file NAME-VERSION-OS-ARCH.zip; docs/packages.md says more.
    """


# ---- For those who make them -----------------------------------------------------------------


@package.command(epilog="Example: slipstream package build plugins/hello --out dist")
@click.argument(
    "source", metavar="DIR|LIBRARY", type=click.Path(readable=False, path_type=Path, exists=True)
)
@_out
@click.option("--name", default="", metavar="NAME", help="By default what the library says.")
@click.option("--version", default="", metavar="VERSION", help="By default what the library says.")
@click.option(
    "--interface",
    "interfaces",
    multiple=True,
    metavar="NAME",
    help="What it is made for; may be given several times.",
)
@click.option("--anywhere", is_flag=True, help="It is for every system and machine.")
@_json
def build(  # noqa: PLR0913 - the options of the command
    *,
    source: Path,
    out: Path,
    name: str,
    version: str,
    interfaces: tuple[str, ...],
    anywhere: bool,
    as_json: bool,
) -> None:
    """Make a package of a library, or of a folder with one; the same input gives the same bytes."""
    from slipstream.packages.build import build as make  # noqa: PLC0415 - only this needs it

    made = make(source, out, name=name, version=version, interfaces=interfaces, anywhere=anywhere)
    path = out / f"{made.package}.zip"
    said = {"built": str(path), "sha256": made.digest}
    emit(json.dumps(said) + "\n" if as_json else f"{path}\nsha256 {made.digest}\n")


@package.command(epilog="Example: slipstream package inspect hello-1.0.0-linux-amd64.zip")
@_file
@_json
def inspect(*, file: Path, as_json: bool) -> None:
    """Show what a package says of itself; nothing of it runs or is unpacked."""
    from slipstream.packages.archive import Archive  # noqa: PLC0415 - only this needs it

    found = Archive.read(file, elsewhere=True)
    said = described(found)
    emit(json.dumps(said) + "\n" if as_json else lines_of(said))


@package.command(epilog="Example: slipstream package keygen --out keys --name release")
@_out
@click.option("--name", default="slipstream", show_default=True, help="What the files are called.")
@click.option(
    "--openpgp", metavar="USER", default="", help="A key of OpenPGP instead: 'Ann <ann@b.org>'."
)
def keygen(*, out: Path, name: str, openpgp: str) -> None:
    """Make a key for signing packages: NAME.key is secret, NAME.pub is for whoever installs.

    The key is one of minisign. The secret one has no password; minisign itself makes keys with a
    password.
    """
    from slipstream.packages import minisign  # noqa: PLC0415 - as above
    from slipstream.packages import openpgp as pgp  # noqa: PLC0415 - as above
    from slipstream.packages.disk import new_file  # noqa: PLC0415 - as above

    if openpgp:
        secret, public = pgp.generate(openpgp)
        names = (f"{name}.key.asc", f"{name}.asc")
    else:
        key = minisign.generate()
        secret, public = minisign.write_secret(key).encode(), key.public.to_text().encode()
        names = (f"{name}.key", f"{name}.pub")
    for what, content, mode in zip(names, (secret, public), (0o600, 0o644), strict=True):
        try:
            out.mkdir(parents=True, exist_ok=True)
            new_file(out / what, [content], mode)
        except OSError as error:
            raise PackageError(
                f"{printable(str(out / what))} cannot be written: {error.strerror}",
                "a key is never overwritten: choose another --name or --out",
            ) from None
    emit(f"{out / names[0]} is secret\n{out / names[1]} is for others\n")


@package.command(epilog="Example: slipstream package sign hello-1.0.0.zip --key release.key")
@_file
@click.option(
    "--key",
    metavar="FILE",
    required=True,
    type=PATH,
    help=f"The secret key; its password, if it has one, in {_PASSWORD}.",
)
def sign(*, file: Path, key: Path) -> None:
    """Sign a package; the signature is written beside it.

    A key of minisign makes PACKAGE.minisig, one of OpenPGP PACKAGE.sha256sum.asc.
    """
    from slipstream.files import FileProblem, read_small  # noqa: PLC0415 - as above
    from slipstream.packages import minisign, openpgp  # noqa: PLC0415 - as above
    from slipstream.packages.archive import Archive  # noqa: PLC0415 - as above
    from slipstream.packages.disk import write_whole  # noqa: PLC0415 - as above
    from slipstream.packages.trust import MINISIGN, MOST_KEY_BYTES, OPENPGP  # noqa: PLC0415 - as above

    found = Archive.read(file, elsewhere=True)
    what = f"the key {printable(str(key))}"
    try:
        secret = read_small(key, MOST_KEY_BYTES)
    except FileProblem as problem:
        raise PackageError(
            f"{what} {problem.reason}", problem.hint("name the file of a secret key")
        ) from None
    password = os.environ.get(_PASSWORD)
    if secret.startswith(b"untrusted comment:"):
        text = secret.decode("utf-8", "replace")
        mine = minisign.read_secret(text, what, password.encode() if password else None)
        made = minisign.sign(mine, found.sealed.view, f"file:{found.package}.zip").encode()
        suffix = MINISIGN
    else:
        made, suffix = openpgp.sign(secret, found.digest, what, password), OPENPGP
    path = file.with_name(f"{file.name.removesuffix('.zip')}{suffix}")
    write_whole(path, [made])
    emit(f"{path}\n")


@package.command(epilog="Example: slipstream package verify hello-1.0.0.zip --key release.pub")
@_file
@click.option(
    "--key",
    "keys",
    metavar="FILE",
    required=True,
    multiple=True,
    type=PATH,
    help="A public key; one of them has to have signed. May be given several times.",
)
@_json
def verify(*, file: Path, keys: tuple[Path, ...], as_json: bool) -> None:
    """Say who has signed a package; fails unless it was signed by one of the keys."""
    from slipstream.packages.archive import Archive  # noqa: PLC0415 - as above
    from slipstream.packages.trust import LOCAL, read_key, read_signatures, signer_of  # noqa: PLC0415

    found = Archive.read(file, elsewhere=True)
    signer = signer_of(found, read_signatures(file), map(read_key, keys), LOCAL)
    said = {"package": str(found.package), "sha256": found.digest, "signer": signer}
    emit(json.dumps(said) + "\n" if as_json else f"{found.package} is signed by {signer}\n")


@package.command(epilog="Example: slipstream package central /srv/www/plugins dist/*.zip")
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("files", metavar="[PACKAGE]...", nargs=-1, type=PATH)
def central(*, folder: Path, files: tuple[Path, ...]) -> None:
    """Make a plugin central: a folder that any web server can serve by HTTPS.

    Copies packages into DIR, with the signatures that lie beside them. index.json lists all
    packages that are there.
    """
    from slipstream.packages.central_folder import make_central  # noqa: PLC0415 - as above

    for name in make_central(folder, files):
        emit(f"{name}\n")
    if not files:
        say("index.json is made anew; name packages to add some")


for _command in (install, update, list_, remove, prune):
    package.add_command(_command)
