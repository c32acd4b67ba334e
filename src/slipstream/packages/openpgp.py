"""Signatures as Quorum's tools write them: OpenPGP, detached, over the SHA-256 in hexadecimal."""

from __future__ import annotations

from typing import Any

from slipstream.errors import PackageError
from slipstream.extras import need


def _library() -> Any:
    return need("pysequoia", "packages")


def read_cert(content: bytes, what: str) -> Any:
    """Read a public key.

    Raises:
        PackageError: It is none.
    """
    library = _library()
    try:
        cert = library.Cert.from_bytes(content)
    except Exception:  # noqa: BLE001 - the library's errors have no class of their own
        raise PackageError(f"{what} is not an OpenPGP key", "export it with gpg --export") from None
    if cert.is_revoked:
        raise PackageError(f"{what} was revoked by its owner", "ask for the key that came after it")
    return cert


def fingerprint(cert: Any) -> str:
    """Return a key's fingerprint."""
    return str(cert.fingerprint).upper()


def verify(cert: Any, digest: str, signature: bytes, what: str) -> None:
    """See whether a signature is by a key and of a digest.

    Args:
        cert: The key.
        digest: SHA-256 in hexadecimal.
        signature: The signature's file, armored or not.
        what: What it is, for errors.

    Raises:
        PackageError: It is not.
    """
    library = _library()
    try:
        made = library.Sig.from_bytes(signature)
    except Exception:  # noqa: BLE001 - as above
        raise PackageError(
            f"{what} is not an OpenPGP signature", "use what gpg has written"
        ) from None
    # With and without the line end that shasum writes behind it.
    for signed in (digest, f"{digest}\n"):
        try:
            found = library.verify(bytes=signed.encode(), store=lambda _ids: [cert], signature=made)
        except Exception:  # noqa: BLE001, S112 - as above; what does not verify is refused below
            continue
        if any(str(one.certificate).upper() == fingerprint(cert) for one in found.valid_sigs):
            return
    raise PackageError(
        f"{what} was not made with the key {fingerprint(cert)}, or is for another digest than "
        f"{digest[:16]}…",
        "fetch both again, from whoever made it; trust no key that you do not know",
    )


def generate(user: str) -> tuple[bytes, bytes]:
    """Make a key.

    Args:
        user: Whose it is.

    Returns:
        The secret key and the public one, armored.
    """
    secret = _library().Tsk.generate(user)
    return str(secret).encode(), str(secret.extract_certificate()).encode()


def sign(secret: bytes, digest: str, what: str, password: str | None = None) -> bytes:
    """Sign a digest.

    Args:
        secret: The secret key.
        digest: SHA-256 in hexadecimal.
        what: What the key is, for errors.
        password: Opens it, if it was locked with one.

    Raises:
        PackageError: The key cannot sign.
    """
    library = _library()
    try:
        signer = library.Tsk.from_bytes(secret).signer(password)
        made: bytes = library.sign(signer, digest.encode(), mode=library.SignatureMode.DETACHED)
    except Exception as error:  # noqa: BLE001 - as above
        said = str(error).partition("\n")[0]
        raise PackageError(f"{what} cannot sign: {said}", "give a secret key for signing") from None
    return made
