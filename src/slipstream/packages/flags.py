"""How packages are verified. Apart from what does it: a daemon without packages needs no more."""

from __future__ import annotations

from dataclasses import dataclass

from slipstream.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """How packages are verified, as the command line says.

    Attributes:
        skip_verify: Signatures are left out.
        local_verify: Signature and key are those on this disk.
        public_key: The key for that; "" is the usual one.
        trust_on_first_use: A key that only the central gives is taken once, and pinned.
    """

    skip_verify: bool = False
    local_verify: bool = False
    public_key: str = ""
    trust_on_first_use: bool = False

    def check(self) -> None:
        """Refuse those that exclude each other.

        Raises:
            ConfigError: They do; the texts are Quorum's.
        """
        if self.skip_verify and self.local_verify:
            raise ConfigError(
                "only --plugins.skipverify or --plugins.localverify must be set",
                "leave out --plugins.skipverify",
            )
        if self.public_key and not self.local_verify:
            raise ConfigError(
                "--plugins.localverify is required for setting --plugins.publickey",
                "add --plugins.localverify, or name the key in the settings",
            )
