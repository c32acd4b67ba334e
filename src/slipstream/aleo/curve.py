"""The two prime fields, and the check that an x-coordinate belongs to a valid point.

Source: snarkVM curves/src/bls12_377/fr.rs, curves/src/edwards_bls12/, and
console/types/group/src/from_x_coordinate.rs.
"""

from __future__ import annotations

from functools import lru_cache

BASE_MODULUS = 8444461749428370424248824938781546531375899335154063827935233455917409239041
"""p: fields, and the coordinates of groups and addresses, are below it."""

SCALAR_MODULUS = 2111115437357092606062206234695386632838870926408408195193685246394721360383
"""r: scalars are below it; also the order of the group."""

_D = 3021
_P = BASE_MODULUS


@lru_cache(maxsize=1)
def _two_power() -> tuple[int, int, int]:
    """Return (s, q, z) with p - 1 = q * 2**s, q odd, z a generator of the 2**s-th roots of 1."""
    power = (_P - 1 & 1 - _P).bit_length() - 1
    odd = _P - 1 >> power
    element = 2
    while pow(element, (_P - 1) // 2, _P) == 1:
        element += 1
    return power, odd, pow(element, odd, _P)


def _square_root(square: int) -> int | None:
    """Tonelli-Shanks; None if there is no root."""
    if square == 0:
        return 0
    if pow(square, (_P - 1) // 2, _P) != 1:
        return None
    order, odd, step = _two_power()
    root, rest = pow(square, (odd + 1) // 2, _P), pow(square, odd, _P)
    while rest != 1:
        exponent, probe = 0, rest
        while probe != 1:
            probe = probe * probe % _P
            exponent += 1
        factor = pow(step, 1 << order - exponent - 1, _P)
        order, step = exponent, factor * factor % _P
        root, rest = root * factor % _P, rest * step % _P
    return root


def _in_subgroup(x: int, y: int) -> bool:
    """Return whether r times (x, y) is the identity (projective, -x^2 + y^2 = 1 + d x^2 y^2)."""
    sum_x, sum_y, sum_z = 0, 1, 1
    for bit in f"{SCALAR_MODULUS:b}":
        square = (sum_x + sum_y) ** 2 % _P
        xx, yy, zz = sum_x * sum_x % _P, sum_y * sum_y % _P, sum_z * sum_z % _P
        difference = yy - xx
        factor = difference - 2 * zz
        sum_x = (square - xx - yy) * factor % _P
        sum_y = -difference * (xx + yy) % _P
        sum_z = difference * factor % _P
        if bit == "1":
            zz = sum_z * sum_z % _P
            xx, yy = sum_x * x % _P, sum_y * y % _P
            cross = _D * xx * yy % _P
            mixed = ((sum_x + sum_y) * (x + y) - xx - yy) % _P
            sum_x = sum_z * (zz - cross) * mixed % _P
            sum_y = sum_z * (zz + cross) * (yy + xx) % _P
            sum_z = (zz - cross) * (zz + cross) % _P
    return sum_x == 0 and sum_y == sum_z


def is_group_x(x: int) -> bool:
    """Return whether `x` is the x-coordinate of a point in the prime-order subgroup.

    A node refuses addresses and groups that are not; about one number in four is. Takes
    a few milliseconds, which is why decoders check it only when asked to be strict.
    """
    squared = x * x % _P
    divisor = (1 - _D * squared) % _P
    if not 0 <= x < _P or divisor == 0:
        return False
    y = _square_root((1 + squared) * pow(divisor, -1, _P) % _P)
    return y is not None and (_in_subgroup(x, y) or _in_subgroup(x, -y % _P))
