"""Finite fields GF(q) as tables, for graphs that are made of them.

An element is a number below q whose digits to base p are its coefficients as a polynomial; the field is that of the polynomials
modulo the first primitive one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from fabctl.generate.plan import Int64


@dataclass(frozen=True, eq=False)
class GaloisField:
    """GF(q).

    Parameters
    ----------
    add, multiply : int64 array of shape (q, q)
    powers : int64 array of shape (q - 1,)
        The powers of a primitive element, which meet every element but 0.
    """

    add: Int64
    multiply: Int64
    powers: Int64


def galois_field(q: int) -> GaloisField | None:
    """Return the field of q elements; None if q is no power of a prime.

    Complexity
    ----------
    O(q^2) memory; time is that of the search for a primitive polynomial, milliseconds for what a subnet can hold.

    Examples
    --------
    >>> galois_field(5).powers.tolist(), galois_field(6)
    ([1, 2, 4, 3], None)
    """
    prime = next(divisor for divisor in range(2, q + 1) if q % divisor == 0)
    degree = 1
    while prime**degree < q:
        degree += 1
    if prime**degree != q:
        return None
    place = prime ** np.arange(degree)
    digits = np.arange(q)[:, None] // place % prime
    add = (digits[:, None] + digits) % prime @ place
    powers = np.array(_powers(prime, degree)) @ place
    logarithm = np.zeros(q, dtype=np.int64)
    logarithm[powers] = np.arange(q - 1)
    multiply = powers[(logarithm[:, None] + logarithm) % (q - 1)]
    multiply[0] = multiply[:, 0] = 0
    return GaloisField(add, multiply, powers)


def _powers(prime: int, degree: int) -> list[tuple[int, ...]]:
    """Return the powers of x, as digits, modulo the first polynomial by which they meet all elements but 0."""
    one = (1,) + (0,) * (degree - 1)
    for tail in product(range(prime), repeat=degree):  # x^degree = tail
        powers, power = [one], _times_x(one, tail, prime)
        while any(power) and power != one and len(powers) < prime**degree:
            powers.append(power)
            power = _times_x(power, tail, prime)
        if power == one and len(powers) == prime**degree - 1:
            return powers
    raise AssertionError("every finite field has a primitive polynomial")


def _times_x(power: tuple[int, ...], tail: tuple[int, ...], prime: int) -> tuple[int, ...]:
    shifted = (0, *power[:-1])
    return tuple((digit + power[-1] * more) % prime for digit, more in zip(shifted, tail, strict=True))
