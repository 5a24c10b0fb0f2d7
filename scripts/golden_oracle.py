#!/usr/bin/env python3
"""Golden vectors for what peers must agree on, computed without this project's code: NumPy, exact integers and BLAKE3.

    golden_oracle.py > protocol/tests/conformance/golden.json

Everything is written from the documentation of the formats: the merge (weighted mean, half to even), the three payload
codecs, blob roots, the genesis, the election, the bincode encodings of the messages and of the record, prototypes, and
artefacts with the check that their classes can be told apart.
The vectors in the repository were made with numpy 2.4.6 and blake3 1.0.11.
"""

import json
import math
import random
import struct

import numpy as np
from blake3 import blake3

MAX_COORDINATE = 1 << 30
CHUNK = 1 << 20
BLOCK = 256
rng = random.Random(3)


# --- hashes -----------------------------------------------------------------------------------------------------------


def derive(context, message):
    return blake3(message, derive_key_context=f"fedswarm v1 {context}").digest()


def blob_root(data):
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]
    hashes = b"".join(derive("blob chunk", chunk) for chunk in chunks)
    return derive("blob root", struct.pack("<Q", len(data)) + hashes)


class Stream:
    """Numbers from the extended output of BLAKE3."""

    def __init__(self, context, parts):
        self.hasher = blake3(derive_key_context=f"fedswarm v1 stream {context}")
        for part in parts:
            self.hasher.update(struct.pack("<Q", len(part)) + part)
        self.at = 0

    def u64(self):
        self.at += 8
        return struct.unpack("<Q", self.hasher.digest(length=8, seek=self.at - 8))[0]

    def below(self, bound):
        if bound == 0:
            return 0
        most = 2**64 - 1
        while True:
            x = self.u64()
            if x < most - most % bound:
                return x % bound


def pattern(length):
    """The bytes of a test blob: byte i is i * 31 + i // 251, modulo 256."""
    i = np.arange(length, dtype=np.uint64)
    return (i * np.uint64(31) + i // np.uint64(251)).astype(np.uint8).tobytes()


def fixed_bytes(values):
    return np.array(values, dtype="<i4").tobytes()


# --- merge ------------------------------------------------------------------------------------------------------------


def half_even(a, b):
    q, r = divmod(a, b)
    if 2 * r > b or (2 * r == b and q % 2 == 1):
        q += 1
    return q


def merge_case(inputs, weights, base):
    total = sum(weights)
    merged = [
        base[i] + half_even(sum(w * values[i] for w, values in zip(weights, inputs)), total) for i in range(len(base))
    ]
    fits = all(abs(x) <= MAX_COORDINATE for x in merged)
    return {
        "inputs": inputs,
        "weights": weights,
        "base": base,
        "merged": merged if fits else None,
        "root": blob_root(fixed_bytes(merged)).hex() if fits else None,
    }


def merges():
    cases = [
        # Ties: halves of odd sums on both sides of zero.
        merge_case([[1, 3, 5, -1, -3, -5, 0]], [1], [0] * 7),
        merge_case([[1, 3, 5, -1, -3, -5, 0], [0] * 7], [1, 1], [0] * 7),
        merge_case([[1, 3, 5, -1, -3, -5, 2]] + [[0] * 7], [2, 2], [10, 10, 10, -10, -10, -10, 7]),
        merge_case([[MAX_COORDINATE, -MAX_COORDINATE]] * 3, [1 << 24] * 3, [0, 0]),
        merge_case([[MAX_COORDINATE, -MAX_COORDINATE]] * 3, [1 << 24] * 3, [1, 0]),
        merge_case([[MAX_COORDINATE, -MAX_COORDINATE]] * 255, [1 << 24] * 255, [0, 0]),
    ]
    while len(cases) < 64:
        length, count = rng.randint(1, 9), rng.randint(1, 12)
        bits = rng.randint(1, 29)
        inputs = [[rng.randint(-(1 << bits), 1 << bits) for _ in range(length)] for _ in range(count)]
        even = rng.random() < 0.5  # even totals make ties likely
        weights = [2 * rng.randint(1, 4) if even else rng.randint(0, 1 << 24) for _ in range(count)]
        if sum(weights) == 0:
            continue
        cases.append(merge_case(inputs, weights, [rng.randint(-(1 << 29), 1 << 29) for _ in range(length)]))
    return cases


# --- payload codecs ---------------------------------------------------------------------------------------------------


def decode_int8(data, count):
    values = []
    for start in range(0, len(data), 4 + BLOCK):
        scale = struct.unpack("<i", data[start : start + 4])[0]
        if not 0 <= scale <= MAX_COORDINATE // 127 + 1:
            return None
        codes = np.frombuffer(data[start + 4 : start + 4 + BLOCK], dtype=np.int8)
        for code in codes.tolist():
            if code == -128 or (scale == 0 and code != 0):
                return None
            values.append(code * scale)
    assert len(values) == count
    return values if all(abs(v) <= MAX_COORDINATE for v in values) else None


def encode_int8(values, seed):
    stream = Stream("int8 rounding", [seed])
    out = b""
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK]
        scale = -(-max(abs(v) for v in block) // 127)
        codes = [(v + stream.below(scale)) // scale if scale else 0 for v in block]
        out += struct.pack("<i", scale) + np.array(codes, dtype=np.int8).tobytes()
    return out


def decode_f16(data, scale_bits):
    halves = np.frombuffer(data, dtype="<f2").astype(np.float64)
    if not np.all(np.isfinite(halves)):
        return None
    values = np.rint(halves * 2.0**scale_bits)
    return [int(v) for v in values] if np.all(np.abs(values) <= MAX_COORDINATE) else None


def encode_f16(values, scale_bits):
    singles = np.array(values, dtype=np.int32).astype(np.float32) * np.float32(2.0**-scale_bits)
    with np.errstate(over="ignore"):
        return singles.astype("<f2").tobytes()


def payload(codec, scale_bits, data, count, values=None, seed=None):
    decoded = {
        "int8": lambda: decode_int8(data, count),
        "f16": lambda: decode_f16(data, scale_bits),
    }[codec]()
    return {
        "codec": codec,
        "scale_bits": scale_bits,
        "coordinates": count,
        "bytes": data.hex(),
        "encodes": values,
        "seed": seed.hex() if seed else None,
        "payload_root": None if decoded is None else blob_root(fixed_bytes(decoded)).hex(),
        "first": None if decoded is None else decoded[:4],
        "wire_root": blob_root(data).hex(),
    }


def payloads():
    cases = []
    for bits in (0, 3, 10, 20, 27, 30):
        count = rng.choice([1, 255, 256, 257, 520])
        values = [rng.randint(-(1 << bits), 1 << bits) for _ in range(count)]
        seed = bytes(rng.randrange(256) for _ in range(32))
        cases.append(payload("int8", 24, encode_int8(values, seed), count, values, seed))
        for scale_bits in (8, 24, 30):
            cases.append(payload("f16", scale_bits, encode_f16(values, scale_bits), count, values))
    # Bytes of any kind, most of which no encoder writes.
    for _ in range(12):
        count = rng.randint(1, 300)
        blocks = -(-count // BLOCK)
        codes = bytes(rng.randrange(256) for _ in range(count))
        data = b""
        for b in range(blocks):
            scale = rng.choice([-1, 0, 1, 77, MAX_COORDINATE // 127, MAX_COORDINATE // 127 + 1, MAX_COORDINATE])
            data += struct.pack("<i", scale) + codes[b * BLOCK : (b + 1) * BLOCK]
        cases.append(payload("int8", 24, data, count))
        halves = bytes(rng.randrange(256) for _ in range(2 * rng.randint(1, 3)))
        cases.append(payload("f16", rng.randint(8, 30), halves, len(halves) // 2))
    # Every power of two that half precision has, subnormals included.
    powers = b"".join(struct.pack("<H", e << 10) for e in range(31)) + b"".join(struct.pack("<H", 1 << m) for m in range(10))
    cases.append(payload("f16", 8, powers, 41))
    cases.append(payload("f16", 24, powers[: 2 * 22], 22))
    return cases


# --- genesis and election -----------------------------------------------------------------------------------------------


def genesis(seed, tensors):
    values = []
    for name, shape, scale_bits, fan_in in tensors:
        bound = 0 if fan_in == 0 else math.isqrt((1 << (2 * scale_bits)) // fan_in)
        stream = Stream("genesis", [seed, name.encode()])
        values += [stream.below(2 * bound + 1) - bound for _ in range(int(np.prod(shape)))]
    return {
        "seed": seed.hex(),
        "tensors": [{"name": n, "shape": s, "scale_bits": b, "fan_in": f} for n, s, b, f in tensors],
        "first": values[:4],
        "root": blob_root(fixed_bytes(values)).hex(),
    }


def election(seed, voters):
    order = list(range(voters))
    stream = Stream("election", [seed])
    for i in range(voters - 1, 0, -1):
        j = stream.below(i + 1)
        order[i], order[j] = order[j], order[i]
    return {"seed": seed.hex(), "voters": voters, "order": order}


# --- encodings (bincode, `legacy`: fixed little-endian integers, 64-bit lengths, 32-bit variants) -------------------------


def digest(k):
    return bytes([k]) * 32


def refs(items):
    return struct.pack("<Q", len(items)) + b"".join(struct.pack("<H", a) + d for a, d in items)


def record():
    """Every field of the record in order, with digests 1, 2, 3 ... repeated 32 times."""
    count = iter(range(1, 100))
    root = lambda: digest(next(count))
    parts = [
        struct.pack("<H", 1),  # version
        root(),  # network
        struct.pack("<I", 5),  # epoch
        struct.pack("<Q", 23),  # round
        struct.pack("<H", 6),  # quorum
        root(),  # parent
        struct.pack("<I", 2),  # origin_view
        struct.pack("<H", 3),  # proposer
        struct.pack("<I", 1),  # kind: empty
        struct.pack("<I", 0),  # rule: mean
        root(),  # members_root
        root(),  # receipts_root
        root(),  # inputs_root
        struct.pack("<H", 4),  # inputs
        struct.pack("<I", 1234),  # prototypes
        root(),  # model_root
        root(),  # protos_root
        root(),  # state_root
        root(),  # artefact_root
        root(),  # ops_root
        root(),  # next_members_root
        root(),  # seed
        root(),  # seed_following
        root(),  # seed_fold
        struct.pack("<Q", 0b101),  # skipped_leaders
        struct.pack("<Q", 3) + bytes([0, 2, 1]),  # misses
        struct.pack("<?", True),  # closes_epoch
    ]
    return b"".join(parts)


def encodings():
    header = b"".join(digest(k) for k in (1, 2, 3, 4)) + struct.pack("<IIIQ", 16, 2, 100, 7)
    artefact_ref = struct.pack("<Q", 16) + b"".join(digest(k) for k in (5, 6, 7)) + struct.pack("<I", 70_000)
    receipt = refs([(0, digest(1)), (3, digest(2))]) + struct.pack("<Q", 1) + artefact_ref
    artefact = b"".join(digest(k) for k in (1, 2, 3, 4)) + struct.pack("<I", 70_000)
    status = struct.pack("<Q", 9) + digest(1) + struct.pack("<IIIQQQQQQ?", 6, 2, 1, 3, 7, 8, 9, 4, 5, True) + refs([(2, digest(3))])
    votes = struct.pack("<Q", 2) + b"".join(struct.pack("<H", v) + bytes([v]) * 64 for v in (1, 2))
    # Finalize is the sixth kind in the order of declaration.
    certificate = struct.pack("<IIQI", 5, 1, 2, 3) + digest(4) + votes
    slot = struct.pack("<IQI", 1, 17, 0)
    signed = b"FSWM1" + bytes([1]) + digest(5) + slot + derive("update", header)
    return {
        "record": record().hex(),
        "record_hash": derive("record", record()).hex(),
        "update": header.hex(),
        "receipt": receipt.hex(),
        "receipt_root": derive("receipts", refs([(0, digest(1)), (3, digest(2))])).hex(),
        "artefact": artefact.hex(),
        "artefact_root": derive("artefact ref", artefact_ref).hex(),
        "host_rank": derive("host rank", digest(1) + digest(2)).hex(),
        "generator_seed": derive("gen", digest(1) + struct.pack("<Q", 17)).hex(),
        "status": status.hex(),
        "certificate": certificate.hex(),
        "signed_bytes": signed.hex(),
        "statement": derive("statement", signed + struct.pack("<H", 2)).hex(),
        **votes_on_members(),
    }


def votes_on_members():
    """A join with an approval, an eviction with a vote, and what the voter signs: its last round stands in the round's place."""
    ballot = struct.pack("<Q", 1) + digest(6) + struct.pack("<Q", 40) + bytes([7]) * 64
    name = struct.pack("<Q", 3) + b"ana"
    contributor = struct.pack("<I", 1)
    invite = digest(1) + digest(2) + contributor + struct.pack("<Q", 50) + bytes([3]) * 64
    join = invite + digest(4) + name + bytes([5]) * 64 + bytes([8]) * 64 + ballot
    evicted = digest(4) + struct.pack("<Q", 9)
    asked = digest(1) + digest(2) + contributor + struct.pack("<Q", 50) + digest(4) + name

    def signed(kind, context, question):
        return b"FSWM1" + bytes([kind]) + digest(5) + struct.pack("<IQI", 0, 40, 0) + derive(context, question)

    return {
        "join": (struct.pack("<I", 0) + join).hex(),
        "approval_signed": signed(18, "approve", asked).hex(),
        "evict_vote": (struct.pack("<I", 4) + evicted + ballot).hex(),
        "evict_vote_signed": signed(19, "evict_vote", evicted).hex(),
    }


# --- prototypes and artefacts -------------------------------------------------------------------------------------------


def fixed(values, bits):
    """Round half to even, in double precision."""
    return [int(q) for q in np.rint(np.array(values, dtype=np.float32).astype(np.float64) * 2.0**bits)]


def floats(count, spread):
    return [float(np.float32(rng.uniform(-spread, spread))) for _ in range(count)]


def prototypes():
    authors = [[a, [[c, floats(3, 9)] for c in classes]] for a, classes in ((0, (0, 4)), (2, ()), (3, (4, 5, 9)))]
    entry = lambda c, values: struct.pack("<H", c) + fixed_bytes(fixed(values, 20))
    sections = [b"".join(entry(c, v) for c, v in found) for _, found in authors]
    listed = b"".join(struct.pack("<H", a) + entry(c, v) for a, found in authors for c, v in found)
    return {
        "authors": authors,
        "sections": [s.hex() for s in sections],
        "list": listed.hex(),
        "root": blob_root(listed).hex(),
    }


def separable(classes, latents, length):
    """The smallest distance of two classes' mean latents is more than nothing and at least 1/32 of the largest."""
    means = {}
    for c in sorted(set(classes)):
        rows = [latents[i * length : (i + 1) * length] for i, k in enumerate(classes) if k == c]
        # Towards zero.
        means[c] = [abs(s) // len(rows) * (1 if s > 0 else -1) for s in map(sum, zip(*rows))]
    keys = list(means)
    distances = [
        sum((x - y) ** 2 for x, y in zip(means[a], means[b])) for i, a in enumerate(keys) for b in keys[i + 1 :]
    ]
    return not distances or (min(distances) > 0 and min(distances) * 32**2 >= max(distances))


def artefact(shape, classes, latents, certified=None):
    _, _, image, latent, transformer = shape
    images, state = floats(len(classes) * image, 1), floats(transformer, 900)
    pixels, w = np.array(fixed(images, 14), dtype="<i2"), fixed(latents, 20)
    blob = b"".join(
        struct.pack("<H", c) + pixels[i * image : (i + 1) * image].tobytes() + fixed_bytes(w[i * latent : (i + 1) * latent])
        for i, c in enumerate(classes)
    ) + fixed_bytes(fixed(state, 20))
    certified = sorted(set(classes)) if certified is None else certified
    return {
        "shape": shape,
        "classes": classes,
        "images": images,
        "latents": latents,
        "transformer": state,
        "blob": blob.hex(),
        "root": blob_root(blob).hex(),
        "certified": certified,
        "acceptable": set(classes) <= set(certified) and separable(classes, w, latent),
    }


def artefacts():
    shape = [5, 2, 4, 3, 2]
    cases = [
        artefact(shape, [0, 1, 2, 3, 4], floats(15, 4)),
        artefact(shape, [0, 0, 3, 3], floats(12, 4)),
        artefact(shape, [2], floats(3, 4)),
        artefact(shape, [1, 2], floats(6, 4), [1]),
        artefact(shape, [1, 4], [0.5, 0.5, 0.5] * 2),
        # Means that differ by one step, next to a third class far away.
        artefact(shape, [0, 1, 2], [0.0, 0.0, 0.0, 2.0**-20, 0.0, 0.0, 100.0, 0.0, 0.0]),
        # At the bound, and a step below it.
        artefact(shape, [0, 1, 2], [0.0, 0.0, 0.0, 0.25, 0.0, 0.0, 8.0, 0.0, 0.0]),
        artefact(shape, [0, 1, 2], [0.0, 0.0, 0.0, 0.25 - 2.0**-20, 0.0, 0.0, 8.0, 0.0, 0.0]),
        # Means of two, rounded towards zero: both are nothing.
        artefact(shape, [0, 0, 1, 1], [0.0, 0.0, 0.0, 2.0**-20, 0.0, 0.0, -(2.0**-20), 0.0, 0.0, 0.0, 0.0, 0.0]),
    ]
    for _ in range(8):
        classes = sorted(rng.sample(range(5), rng.randint(2, 5)))
        # Two of them close together, more or less.
        latents = floats(3 * len(classes), 4)
        near = rng.uniform(0, 0.2)
        latents[3:6] = [float(np.float32(x + near)) for x in latents[:3]]
        cases.append(artefact(shape, classes, latents))
    return cases


def main():
    lengths = [0, 1, 63, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 17]
    golden = {
        "merges": merges(),
        "payloads": payloads(),
        "blobs": [{"len": n, "root": blob_root(pattern(n)).hex()} for n in lengths],
        "genesis": [
            genesis(digest(9), [["w", [4, 3], 24, 4], ["b", [4], 24, 4]]),
            genesis(digest(1), [["extractor.conv1.weight", [8, 3, 3, 3], 24, 27], ["zero", [5], 30, 0], ["x", [40], 8, 1]]),
        ],
        "elections": [election(digest(k), n) for k, n in ((1, 1), (2, 4), (3, 7), (4, 64))],
        "encodings": encodings(),
        "prototypes": prototypes(),
        "artefacts": artefacts(),
    }
    lines = [f'"{name}": {rows(value)}' for name, value in golden.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


def rows(value):
    if isinstance(value, list):
        return "[\n" + ",\n".join("  " + json.dumps(v) for v in value) + "\n]"
    return json.dumps(value, indent=1)


if __name__ == "__main__":
    main()
