"""Random numbers: Philox word for word, the same values on both devices, distributions, state."""

from __future__ import annotations

import numpy as np
import pytest
import triton
import triton.language as tl

from tgrad.kernels.cuda.random import philox4x64, signed, word
from tgrad.runtime import cuda
from tgrad.runtime.random import Generator, words


@triton.jit
def words_kernel(y_ptr, key, counter, BLOCKS: tl.constexpr):
    blocks = word(counter) + tl.arange(0, BLOCKS).to(tl.uint64)
    a, b, c, d = philox4x64(word(key), blocks)
    y = tl.interleave(tl.interleave(a, c), tl.interleave(b, d))
    tl.store(y_ptr + tl.arange(0, 4 * BLOCKS), y.to(tl.int64))


@pytest.mark.parametrize("key, counter", [(0, 0), (1, 1), (2**64 - 1, 5), (3, 2**63 - 2)])
def test_triton_and_numpy_draw_the_same_words(key: int, counter: int):
    y = cuda.empty((256,), np.dtype(np.int64))
    cuda.launch(words_kernel, (1,), y, signed(key), signed(counter), BLOCKS=64)
    want = np.random.Philox(key=key, counter=counter).random_raw(256)
    np.testing.assert_array_equal(cuda.active().to_host(y).view(np.uint64), want)
    np.testing.assert_array_equal(words(key, counter, 256), want)


def test_reserved_words_do_not_overlap():
    generator = Generator().manual_seed(3)
    whole = words(*Generator().manual_seed(3).reserve(12), 12)
    first, second = generator.reserve(5), generator.reserve(4)
    np.testing.assert_array_equal(words(*first, 5), whole[:5])
    np.testing.assert_array_equal(words(*second, 4), whole[8:12])
