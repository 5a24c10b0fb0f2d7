#!/usr/bin/env python3
"""Ed25519 signatures and keys on which libraries are known to disagree, made here from the curve's definition.

    ed25519_edge_cases.py > protocol/tests/conformance/ed25519.json

The twelve conditions are those of Chalkias, Garillot and Nikolaenko, "Taming the many EdDSAs" (2020), table 5: small and
mixed order of the key A and the commitment R, a response S that is not reduced, and encodings that are not canonical.
`verifies` is what the strict predicate without cofactor gives: S < L, neither A nor R of small order, and
SB = R + H(R, A, M) A with the bytes as they came. Only the standard library is needed.
"""

import hashlib
import json
import random

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
rng = random.Random(25519)


def add(p, q):
    (x1, y1), (x2, y2) = p, q
    k = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P,
    )


ZERO = (0, 1)


def mul(k, p):
    out = ZERO
    while k:
        if k & 1:
            out = add(out, p)
        p, k = add(p, p), k >> 1
    return out


def x_of(y, sign):
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P:
        return None
    return P - x if x and x % 2 != sign else x


def encode(p):
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


BASE_Y = 4 * pow(5, -1, P) % P
B = (x_of(BASE_Y, 0), BASE_Y)
assert mul(L, B) == ZERO


def torsion():
    """A point of order eight."""
    while True:
        y = rng.randrange(P)
        x = x_of(y, 0)
        if x is not None:
            t = mul(L, (x, y))
            if mul(4, t) != ZERO:
                return t


T = torsion()
SMALL = [mul(k, T) for k in range(8)]


def odd_spellings():
    """Second encodings of points of small order: y >= p, or the sign of an x that is zero."""
    out = []
    for x, y in SMALL:
        for raw in {y, y + P}:
            for sign in {x & 1} if x else {0, 1}:
                if raw < 2**255 and (raw, sign) != (y, x & 1):
                    out.append(((raw | sign << 255).to_bytes(32, "little"), (x, y)))
    return sorted(out)


def challenge(r, a, message):
    return int.from_bytes(hashlib.sha512(r + a + message).digest(), "little") % L


def case(name, key, r, s, message, verifies, key_valid):
    signature = r + s.to_bytes(32, "little")
    return {
        "name": name,
        "message": message.hex(),
        "key": key.hex(),
        "signature": signature.hex(),
        "verifies": verifies,
        "key_valid": key_valid,
    }


def craft(name, a, t_a, r, t_r, cofactorless, verifies, extra=0, key_bytes=None, r_bytes=None, hash_r=None, hash_a=None):
    """A signature with A = aB + t_a and R = rB + t_r, over a message for which the equation holds as asked."""
    big_a, big_r = add(mul(a, B), t_a), add(mul(r, B), t_r)
    key_bytes, r_bytes = key_bytes or encode(big_a), r_bytes or encode(big_r)
    while True:
        message = rng.randbytes(32)
        h = challenge(hash_r or r_bytes, hash_a or key_bytes, message)
        if (add(t_r, mul(h % 8, t_a)) == ZERO) == cofactorless:
            break
    s = (r + h * a) % L
    if cofactorless:
        assert mul(s, B) == add(big_r, mul(h, big_a))
    else:
        assert mul(8 * s, B) == mul(8, add(big_r, mul(h, big_a)))
    canonical = key_bytes == encode(big_a)
    return case(name, key_bytes, r_bytes, s + extra, message, verifies, canonical and mul(8, big_a) != ZERO)


def scalar():
    return rng.randrange(1, L)


def speccheck():
    spelling, point = odd_spellings()[-1]
    t1, t2 = SMALL[3], SMALL[5]
    much = (2**256 - 1 - L) // L * L
    return [
        craft("0: S = 0, A and R small", 0, t1, 0, t2, True, False),
        craft("1: A small, R mixed", 0, t1, scalar(), t2, True, False),
        craft("2: A mixed, R small", scalar(), t1, 0, t2, True, False),
        craft("3: A and R mixed, holds without cofactor", scalar(), t1, scalar(), t2, True, True),
        craft("4: A and R mixed, holds with cofactor only", scalar(), t1, scalar(), t2, False, False),
        craft("5: A mixed, R of order L, holds with cofactor only", scalar(), t1, scalar(), ZERO, False, False),
        craft("6: S > L", scalar(), ZERO, scalar(), ZERO, True, False, extra=L),
        craft("7: S >> L", scalar(), ZERO, scalar(), ZERO, True, False, extra=much),
        craft("8: R small in a second spelling", scalar(), t1, 0, point, True, False, r_bytes=spelling),
        craft("9: the same, R reduced before it is hashed", scalar(), t1, 0, point, True, False, r_bytes=spelling,
              hash_r=encode(point)),
        craft("10: A small in a second spelling", 0, point, scalar(), inverse_of_some_multiple(point), True, False,
              key_bytes=spelling),
        craft("11: the same, A reduced before it is hashed", 0, point, scalar(), inverse_of_some_multiple(point), True,
              False, key_bytes=spelling, hash_a=encode(point)),
    ]


def inverse_of_some_multiple(point):
    """A point t with t + h * point = 0 for some h, so that a message can be found."""
    x, y = point
    return ((P - x) % P, y)


def main():
    honest = craft("an honest signature", scalar(), ZERO, scalar(), ZERO, True, True)
    keys = [(f"small order {k}", encode(p)) for k, p in enumerate(SMALL)]
    keys += [(f"small order in a second spelling {i}", raw) for i, (raw, _) in enumerate(odd_spellings())]
    keys += [
        (f"y = p + {y}, sign {sign}", (y + P | sign << 255).to_bytes(32, "little"))
        for y in range(2, 19)
        for sign in (0, 1)
    ]
    keys += [(f"no point has y = {y}", y.to_bytes(32, "little")) for y in range(20) if x_of(y, 0) is None]
    print(json.dumps({
        "signatures": [honest, *speccheck()],
        "invalid_keys": [{"name": name, "key": raw.hex()} for name, raw in keys],
    }, indent=1))


if __name__ == "__main__":
    main()
