"""The agent's own Ed25519, against the RFC's vectors and against `cryptography`."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.ed25519 import verify

ORDER = 2**252 + 27742317777372353535851937790883648493
PRIME = 2**255 - 19
# RFC 8032, section 7.1: public key, message, signature
VECTORS = {
    "TEST 1": (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
        "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
        "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ec"
        "fdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_the_vectors_of_the_rfc_hold(vector: tuple[str, str, str]) -> None:
    key, message, signature = map(bytes.fromhex, vector)
    assert verify(key, message, signature)
    assert not verify(key, message + b"x", signature)


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=300), st.integers(0, 511))
def test_what_cryptography_signs_is_verified_and_one_flipped_bit_is_not(
    seed: bytes, message: bytes, bit: int
) -> None:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = private.public_key().public_bytes_raw(), private.sign(message)
    assert verify(key, message, signature)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert not verify(key, message, bytes(flipped))


def test_another_key_does_not_verify() -> None:
    signature = Ed25519PrivateKey.generate().sign(b"m")
    assert not verify(Ed25519PrivateKey.generate().public_key().public_bytes_raw(), b"m", signature)


def test_a_second_form_of_the_same_signature_is_refused() -> None:
    key, message, signature = map(bytes.fromhex, VECTORS["TEST 2"])
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify(key, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "point",
    [
        (PRIME + 1).to_bytes(32, "little"),  # y = 1, not reduced
        (2).to_bytes(32, "little"),  # no x belongs to it
        (1 | 1 << 255).to_bytes(32, "little"),  # x = 0 with a sign
    ],
    ids=["not reduced", "not on the curve", "minus zero"],
)
def test_a_bad_point_is_refused_as_key_and_in_a_signature(point: bytes) -> None:
    key, message, signature = map(bytes.fromhex, VECTORS["TEST 2"])
    assert not verify(point, message, signature)
    assert not verify(key, message, point + signature[32:])


def test_wrong_lengths_are_refused() -> None:
    key, message, signature = map(bytes.fromhex, VECTORS["TEST 2"])
    assert not verify(key[:31], message, signature)
    assert not verify(key, message, signature[:63])
