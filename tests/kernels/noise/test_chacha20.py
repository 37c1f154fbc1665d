"""Attacks on the cipher: the vectors of RFC 8439, and its counter."""

from kernels.noise.chacha20 import chacha20_block, chacha20_words

KEY = bytes(range(32))
NONCE = bytes.fromhex("000000090000004a00000000")
# RFC 8439, section 2.3.2: the state after block 1.
RFC_8439_BLOCK = [
    *(
        0xE4E7F110,
        0x15593BD1,
        0x1FDD0F50,
        0xC47120A3,
        0xC7F4D1C7,
        0x0368C033,
        0x9AAA2204,
        0x4E6CD4C3,
    ),
    *(
        0x466482D2,
        0x09AA9F07,
        0x05D7C214,
        0xA2028BD9,
        0xD19C12B5,
        0xB94E16DE,
        0xE883D0CB,
        0x4E3C50A2,
    ),
]


def test_the_cipher_gives_the_block_of_rfc_8439() -> None:
    assert chacha20_block(KEY, NONCE, 1) == RFC_8439_BLOCK
    assert chacha20_words(KEY, NONCE, 1, 1).tolist() == RFC_8439_BLOCK


def test_the_key_stream_is_that_of_rfc_8439_appendix_a_1() -> None:
    # Test vectors 1 and 2: an all-zero key and nonce, blocks 0 and 1.
    stream = chacha20_words(bytes(32), bytes(12), 0, 2).tobytes()
    assert stream[:16].hex() == "76b8e0ada0f13d90405d6ae55386bd28"
    assert stream[64:80].hex() == "9f07e7be5551387a98ba977c732d080d"


def test_the_block_counter_turns_over_as_32_bits() -> None:
    words = chacha20_words(KEY, NONCE, 2**32 - 1, 1).tolist()
    assert words == chacha20_block(KEY, NONCE, 2**32 - 1)
