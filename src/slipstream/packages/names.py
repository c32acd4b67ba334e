"""What a package is called: name, version, system and machine, as Quorum writes them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from slipstream.errors import PackageError
from slipstream.text import printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
VERSION = re.compile(r"[0-9][A-Za-z0-9_.+~-]{0,47}")
WORD = re.compile(r"[a-z0-9_]{1,16}")
SUFFIX = ".zip"
SIGNATURES = (".zip.minisig", ".zip.sha256sum.asc")

_MACHINES = {  # as Go names them, by what the system says
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "i686": "386",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
}
_FIELD = re.compile(r"\{\{\s*(.*?)\s*\}\}")


def own_system() -> tuple[str, str]:
    """Return this system and this machine, in Go's words: ``linux``, ``amd64``."""
    said = os.uname()
    return said.sysname.lower(), _MACHINES.get(said.machine, said.machine)


@dataclass(frozen=True, slots=True, order=True)
class PackageName:
    """Which package.

    Attributes:
        name: Of the plugin.
        version: Its version.
        os: The system that it is for, in Go's words; "": whichever.
        arch: The machine; "": whichever.
    """

    name: str
    version: str
    os: str = ""
    arch: str = ""

    def __post_init__(self) -> None:
        """See to it that it can be part of a file's name.

        Raises:
            PackageError: It cannot.
        """
        for what, text, rule in (("name", self.name, NAME), ("version", self.version, VERSION)):
            if not rule.fullmatch(text) or ".." in text:
                raise PackageError(
                    f"{printable(text)!r} is not a valid {what} for a package",
                    f"a {what} is made of letters, digits and . _ -"
                    + (", and begins with a digit" if what == "version" else ""),
                )
        if bool(self.os) != bool(self.arch):
            raise PackageError(
                f"{self.name} names a system without a machine, or a machine without a system",
                "give both os and arch, or none",
            )
        for text in (self.os, self.arch):
            if text and not WORD.fullmatch(text):
                raise PackageError(
                    f"{printable(text)!r} is not a system or machine",
                    "use words such as linux, amd64",
                )

    def __str__(self) -> str:
        machine = f"-{self.os}-{self.arch}" if self.os else ""
        return f"{self.name}-{self.version}{machine}"

    @property
    def is_for_here(self) -> bool:
        """Whether it is for this system and machine, or for all."""
        return not self.os or (self.os, self.arch) == own_system()

    def candidates(self) -> tuple[PackageName, PackageName]:
        """Return what it may be called: for this machine, and for all."""
        return (
            PackageName(self.name, self.version, *own_system()),
            PackageName(self.name, self.version),
        )

    def fill(self, template: str) -> str:
        """Put it into a path template.

        Raises:
            PackageError: The template asks for something else.
        """
        here_os, here_arch = own_system()
        values = {
            ".Name": self.name,
            ".Version": self.version,
            ".OS": self.os or here_os,
            ".Arch": self.arch or here_arch,
        }

        def value(field: re.Match[str]) -> str:
            if field[1] not in values:
                raise PackageError(
                    f"the template {printable(template)!r} asks for {printable(field[1])!r}",
                    "templates know {{.Name}}, {{.Version}}, {{.OS}} and {{.Arch}}",
                )
            return values[field[1]]

        return _FIELD.sub(value, template)

    def place(self, template: str) -> str:
        """Return where it lies by a template; one for all machines has none in its name."""
        path = self.fill(template)
        return path if self.os else path.replace(str(self.candidates()[0]), str(self))


def version_key(version: str) -> tuple[object, ...]:
    """Return what versions are ordered by: numbers as numbers, a pre-release before its release."""
    main, dash, rest = version.partition("-")
    parts = re.findall(r"[0-9]+|[A-Za-z]+", main)
    order = tuple((1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts)
    return (
        order,
        not dash,
        tuple(
            (1, int(part), "") if part.isdecimal() else (0, 0, part)
            for part in re.findall(r"[0-9]+|[A-Za-z]+", rest)
        ),
    )
