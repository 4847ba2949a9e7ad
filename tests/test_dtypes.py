"""dtypes: PyTorch's promotion as full tables, casting rules, limits, defaults."""

from __future__ import annotations

import itertools
import pickle
import threading

import pytest

import tgrad
from tgrad import dtypes

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
         "float64", "complex64", "complex128"]  # fmt: skip
LETTERS = ["?", "u", "1", "2", "4", "8", "h", "b", "f", "d", "F", "D"]
SHORT: dict[str, str] = dict(zip(LETTERS, NAMES, strict=True))

# Rows and columns in the order of NAMES, letters as in SHORT; from PyTorch 2.13's promote_types.
PROMOTE = """
? u 1 2 4 8 h b f d F D
u u 2 2 4 8 h b f d F D
1 2 1 2 4 8 h b f d F D
2 2 2 2 4 8 h b f d F D
4 4 4 4 4 8 h b f d F D
8 8 8 8 8 8 h b f d F D
h h h h h h h f f d F D
b b b b b b f b f d F D
f f f f f f f f f d F D
d d d d d d d d d d D D
F F F F F F F F F D F D
D D D D D D D D D D D D
"""
# A tensor with dims (row) and a 0-d tensor (column). float16 with a complex number is complex64
# here, where PyTorch has a complex32.
WITH_ZERO_DIM = """
? u 1 2 4 8 h b f d F D
u u u u u u h b f d F D
1 1 1 1 1 1 h b f d F D
2 2 2 2 2 2 h b f d F D
4 4 4 4 4 4 h b f d F D
8 8 8 8 8 8 h b f d F D
h h h h h h h h h h F F
b b b b b b b b b b F F
f f f f f f f f f f F F
d d d d d d d d d d D D
F F F F F F F F F F F F
D D D D D D D D D D D D
"""
# A tensor (with dims or without) and the Python numbers True, 1, 1.5, 1j.
WITH_NUMBER = """
? 8 f F
u u f F
1 1 f F
2 2 f F
4 4 f F
8 8 f F
h h h F
b b b F
f f f F
d d d D
F F F F
D D D D
"""
CAN_CAST = """
111111111111
011111111111
011111111111
011111111111
011111111111
011111111111
000000111111
000000111111
000000111111
000000111111
000000000011
000000000011
"""


def table(text: str) -> list[list[str]]:
    return [[SHORT[letter] for letter in line.split()] for line in text.strip().splitlines()]


def made(name: str, *shape: int) -> tgrad.Tensor:
    return tgrad.ones(shape, dtype=getattr(tgrad, name))


def test_promotion_is_pytorchs():
    for a, row in zip(NAMES, table(PROMOTE), strict=True):
        got = [tgrad.promote_types(getattr(tgrad, a), getattr(tgrad, b)).name for b in NAMES]
        assert got == row, a


def test_tensors_without_dims_count_only_by_a_higher_category():
    for a, row in zip(NAMES, table(WITH_ZERO_DIM), strict=True):
        got = [tgrad.result_type(made(a, 1), made(b)).name for b in NAMES]
        assert got == row, a
        assert got == [tgrad.result_type(made(b), made(a, 1)).name for b in NAMES]


def test_python_numbers_count_only_by_a_higher_category():
    for a, row in zip(NAMES, table(WITH_NUMBER), strict=True):
        for shape in ((), (2,)):
            got = [tgrad.result_type(made(a, *shape), s).name for s in (True, 1, 1.5, 1j)]
            assert got == row, (a, shape)
    assert tgrad.result_type(1, 1.5) is tgrad.float32


def test_what_ops_compute_follows_the_tables():
    for a, b in itertools.product(NAMES[:10], repeat=2):
        want = tgrad.promote_types(getattr(tgrad, a), getattr(tgrad, b))
        assert (made(a, 2) * made(b, 2)).dtype is want, (a, b)


def test_can_cast_is_pytorchs():
    for a, row in zip(NAMES, CAN_CAST.split(), strict=True):
        got = "".join(str(int(tgrad.can_cast(getattr(tgrad, a), getattr(tgrad, b)))) for b in NAMES)
        assert got == row, a


FINFO = {
    "float16": (16, 0.0009765625, 65504.0, 6.103515625e-05, 0.001),
    "bfloat16": (16, 0.0078125, 3.3895313892515355e38, 1.1754943508222875e-38, 0.01),
    "float32": (32, 1.1920928955078125e-07, 3.4028234663852886e38, 1.1754943508222875e-38, 1e-06),
    "float64": (64, 2.220446049250313e-16, 1.7976931348623157e308, 2.2250738585072014e-308, 1e-15),
}


@pytest.mark.parametrize("name", FINFO)
def test_limits_of_floats(name: str):
    info = tgrad.finfo(getattr(tgrad, name))
    bits, eps, largest, tiny, resolution = FINFO[name]
    assert (info.bits, info.eps, info.max, info.min) == (bits, eps, largest, -largest)
    assert (info.tiny, info.smallest_normal, info.dtype) == (tiny, tiny, name)
    assert info.resolution == pytest.approx(resolution, rel=1e-6)


def test_limits_print_as_pytorchs_do():
    assert str(tgrad.finfo(tgrad.float32)) == (
        "finfo(resolution=1e-06, min=-3.40282e+38, max=3.40282e+38, eps=1.19209e-07, "
        "smallest_normal=1.17549e-38, tiny=1.17549e-38, dtype=float32)"
    )
    assert tgrad.finfo(tgrad.complex64).dtype == "float32"
    assert tgrad.finfo().bits == 32


@pytest.mark.parametrize("name, bits", [("uint8", 8), ("int8", 8), ("int32", 32), ("int64", 64)])
def test_limits_of_integers(name: str, bits: int):
    info = tgrad.iinfo(getattr(tgrad, name))
    signed = name != "uint8"
    assert (info.bits, info.dtype) == (bits, name)
    assert (info.max, info.min) == (2 ** (bits - signed) - 1, -(2 ** (bits - 1)) if signed else 0)


def test_attributes():
    assert repr(tgrad.float32) == "tgrad.float32"
    assert tgrad.half is tgrad.float16 and tgrad.long is tgrad.int64
    assert tgrad.float64.itemsize == 8 and not tgrad.uint8.is_signed
    assert tgrad.complex64.is_complex and not tgrad.complex64.is_floating_point
    assert pickle.loads(pickle.dumps(tgrad.bfloat16)) is tgrad.bfloat16
    assert tgrad.float16.to_complex() is tgrad.complex64
    assert tgrad.complex128.to_real() is tgrad.float64


def test_the_default_dtype_is_that_of_python_floats():
    tgrad.set_default_dtype(tgrad.float64)
    try:
        assert tgrad.tensor(1.5).dtype is tgrad.float64
        assert tgrad.tensor(1j).dtype is tgrad.complex128
        assert tgrad.zeros(2).dtype is tgrad.float64
        seen = []
        thread = threading.Thread(target=lambda: seen.append(tgrad.get_default_dtype()))
        thread.start()
        thread.join()
        assert seen == [tgrad.float64]
        assert str(tgrad.ones(2, dtype=tgrad.float32)) == "tensor([1., 1.], dtype=tgrad.float32)"
    finally:
        tgrad.set_default_dtype(tgrad.float32)


@pytest.mark.parametrize("bad", [tgrad.int32, "float32", None])
def test_the_default_dtype_must_be_floating(bad: object):
    with pytest.raises(TypeError, match="only floating-point types"):
        tgrad.set_default_dtype(bad)  # pyright: ignore[reportArgumentType]


def test_type_arithmetic_refuses_what_is_no_dtype():
    for call in (
        lambda: tgrad.promote_types(tgrad.float32, 3),  # pyright: ignore[reportArgumentType]
        lambda: tgrad.finfo(tgrad.int32),
        lambda: tgrad.iinfo(tgrad.float32),
        lambda: tgrad.iinfo(tgrad.bool),
        lambda: tgrad.result_type(1, "a"),  # pyright: ignore[reportArgumentType]
    ):
        with pytest.raises(TypeError):
            call()


def test_every_dtype_has_its_numpy_dtype():
    assert [d.name for d in dtypes.ALL] == NAMES
    assert all(dtypes.FROM_NUMPY[d.numpy] is d for d in dtypes.ALL)
