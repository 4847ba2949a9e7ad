"""Random numbers: Philox word for word, the same values on both devices, distributions, state."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
import triton
import triton.language as tl
from scipy import stats

import tgrad
from tgrad.kernels.cuda.random import philox4x64, signed, word
from tgrad.runtime import cuda
from tgrad.runtime.random import words

DEVICES = ("cpu", "cuda")
FLOATS = (tgrad.float32, tgrad.float64, tgrad.float16, tgrad.bfloat16)


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
    whole = words(*tgrad.Generator().manual_seed(3).reserve(12), 12)
    generator = tgrad.Generator().manual_seed(3)
    first, second = generator.reserve(5), generator.reserve(4)
    np.testing.assert_array_equal(words(*first, 5), whole[:5])
    np.testing.assert_array_equal(words(*second, 4), whole[8:12])


# ---- the same on both devices --------------------------------------------------------------------


def drawn(make, device: str) -> np.ndarray:
    tgrad.manual_seed(1234)
    y = make(device).cpu()
    return y.double().numpy() if y.is_floating_point() else y.numpy()


EXACT = {
    "rand": lambda d, t: tgrad.rand(19000, dtype=t, device=d),
    "rand small": lambda d, t: tgrad.rand(3, 5, dtype=t, device=d),
    "rand empty": lambda d, t: tgrad.rand(0, dtype=t, device=d),
    "bernoulli": lambda d, t: tgrad.bernoulli(tgrad.linspace(0, 1, 37, device=d).to(t)),
    "bernoulli_": lambda d, t: tgrad.empty(37, 19, dtype=t, device=d).bernoulli_(0.3),
    "bernoulli rows": lambda d, t: tgrad.empty(9, 5, device=d).bernoulli_(
        tgrad.tensor([[0.0], [0.5], [1.0]] * 3).to(d, t)
    ),
    "random_": lambda d, t: tgrad.empty(37, dtype=t, device=d).random_(3, 90),
    "strided": lambda d, t: tgrad.zeros(9, 7, dtype=t, device=d).t().uniform_(),
}  # fmt: skip


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", EXACT)
def test_devices_draw_the_same_bits(name: str, dtype: tgrad.dtype):
    a, b = (drawn(lambda d: EXACT[name](d, dtype), device) for device in DEVICES)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [tgrad.int64, tgrad.int32, tgrad.uint8, tgrad.bool], ids=str)
def test_devices_draw_the_same_integers(dtype: tgrad.dtype):
    for make in (
        lambda d: tgrad.randint(2, (777,), dtype=dtype, device=d),
        lambda d: tgrad.zeros(9, 13, dtype=dtype, device=d).random_(),
        lambda d: tgrad.zeros(77, dtype=dtype, device=d).bernoulli_(0.5),
    ):
        np.testing.assert_array_equal(drawn(make, "cpu"), drawn(make, "cuda"))


@pytest.mark.parametrize(
    "low, high", [(0, 1), (-5, 60000), (0, 2**40), (-(2**62), 2**62), (-(2**63), 2**63 - 1)]
)
def test_devices_draw_the_same_integers_of_any_range(low: int, high: int):
    a, b = (drawn(lambda d: tgrad.randint(low, high, (301,), device=d), d) for d in DEVICES)
    np.testing.assert_array_equal(a, b)
    assert a.min() >= low and a.max() < high


def test_integers_are_the_upper_half_of_a_product():
    tgrad.manual_seed(8)
    span = 3 * 2**60 + 12345
    y = tgrad.randint(span, (40,))
    want = [int(w) * span >> 64 for w in words(8, 0, 40)]
    assert y.tolist() == want


CLOSE = {
    "randn": lambda x: x.normal_(),
    "normal_": lambda x: x.normal_(2, 3),
    "uniform_": lambda x: x.uniform_(-3, 5),
    "log_normal_": lambda x: x.log_normal_(0.5, 0.7),
    "exponential_": lambda x: x.exponential_(2.5),
    "cauchy_": lambda x: x.cauchy_(1, 2),
    "geometric_": lambda x: x.geometric_(0.3),
}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", CLOSE)
def test_devices_agree_up_to_rounding(name: str, dtype: tgrad.dtype):
    a, b = (
        drawn(lambda d: CLOSE[name](tgrad.empty(333, dtype=dtype, device=d)), d) for d in DEVICES
    )
    rtol = {"float64": 1e-11, "float32": 2e-5, "float16": 3e-3, "bfloat16": 2e-2}[dtype.name]
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_permutations_are_the_same_on_both_devices(n: int):
    a, b = (drawn(lambda d: tgrad.randperm(n, device=d), d) for d in DEVICES)
    np.testing.assert_array_equal(a, b)
    assert sorted(a.tolist()) == list(range(n))


@pytest.mark.parametrize("replacement", [False, True])
def test_draws_from_weights_are_the_same_on_both_devices(replacement: bool):
    weights = tgrad.tensor([[0.0, 1.0, 2.0, 0.5, 0.0], [3.0, 0.0, 1.0, 1.0, 9.0]])
    a, b = (drawn(lambda d: tgrad.multinomial(weights.to(d), 3, replacement), d) for d in DEVICES)
    np.testing.assert_array_equal(a, b)


def test_large_tensors_are_the_same_as_one_thread_makes_them():
    n = (1 << 20) + 77
    tgrad.manual_seed(5)
    large = tgrad.rand(n).numpy()
    bits = words(5, 0, n // 2 + 1).view(np.uint32)[:n]
    np.testing.assert_array_equal(large, (bits >> 8).astype(np.float32) * 2.0**-24)


# ---- distributions -------------------------------------------------------------------------------

DISTRIBUTIONS = {
    "uniform": (lambda x: x.uniform_(-1, 3), stats.uniform(-1, 4)),
    "normal": (lambda x: x.normal_(1, 2), stats.norm(1, 2)),
    "log_normal": (lambda x: x.log_normal_(0.3, 0.5), stats.lognorm(0.5, scale=np.exp(0.3))),
    "exponential": (lambda x: x.exponential_(2), stats.expon(scale=0.5)),
    "cauchy": (lambda x: x.cauchy_(1, 2), stats.cauchy(1, 2)),
}


@pytest.mark.parametrize("dtype", [tgrad.float32, tgrad.float64], ids=str)
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_samples_follow_their_distribution(name: str, dtype: tgrad.dtype):
    sample, law = DISTRIBUTIONS[name]
    tgrad.manual_seed(11)
    x = sample(tgrad.empty(40000, dtype=dtype)).double().numpy()
    assert np.isfinite(x).all()
    assert stats.kstest(x, law.cdf).pvalue > 1e-3
    # Neighbours, which share a radius and an angle in normal samples, are not correlated.
    rank = stats.rankdata(x)
    assert abs(np.corrcoef(rank[::2], rank[1::2])[0, 1]) < 0.02


def test_counts_follow_their_distribution():
    tgrad.manual_seed(12)
    n = 60000
    dice = np.bincount(tgrad.randint(1, 7, (n,)).numpy(), minlength=7)
    assert dice[0] == 0 and stats.chisquare(dice[1:]).pvalue > 1e-3
    drawn = tgrad.multinomial(tgrad.tensor([1.0, 0.0, 3.0]), n, replacement=True).numpy()
    counts = np.bincount(drawn, minlength=3)
    assert counts[1] == 0 and stats.chisquare(counts[[0, 2]], [n / 4, n * 3 / 4]).pvalue > 1e-3
    ones = tgrad.zeros(n).bernoulli_(0.2).sum().item()
    assert abs(ones - 0.2 * n) < 4 * (0.16 * n) ** 0.5
    trials = tgrad.zeros(n).geometric_(0.25).numpy()
    assert trials.min() == 1 and abs(trials.mean() - 4) < 0.1


def test_permutations_are_uniform():
    tgrad.manual_seed(13)
    seen = np.zeros(6)
    for _ in range(1200):
        a, b, _ = tgrad.randperm(3).tolist()
        seen[2 * a + (b > (a == 0))] += 1
    assert stats.chisquare(seen).pvalue > 1e-3


def test_draws_without_replacement_are_weighted_and_distinct():
    tgrad.manual_seed(14)
    weights = tgrad.tensor([[1.0, 2.0, 0.0, 5.0]]).expand(4000, 4)
    drawn = tgrad.multinomial(weights, 2).numpy()
    assert (drawn[:, 0] != drawn[:, 1]).all() and not (drawn == 2).any()
    first = np.bincount(drawn[:, 0], minlength=4)[[0, 1, 3]]
    assert stats.chisquare(first, np.array([1, 2, 5]) * 500).pvalue > 1e-3


def test_uniform_numbers_never_reach_one():
    for dtype in FLOATS:
        x = tgrad.empty(200000, dtype=dtype).uniform_()
        assert x.min().item() >= 0 and x.max().item() < 1


def test_probabilities_of_zero_and_one_are_certain():
    assert tgrad.zeros(10000).bernoulli_(1.0).sum().item() == 10000
    assert tgrad.ones(10000).bernoulli_(0.0).sum().item() == 0


# ---- generators ----------------------------------------------------------------------------------


def test_a_seed_repeats_the_numbers():
    tgrad.manual_seed(7)
    a = tgrad.randn(5).tolist()
    assert tgrad.manual_seed(7) is tgrad.default_generator
    assert tgrad.randn(5).tolist() == a
    assert tgrad.randn(5).tolist() != a
    assert tgrad.initial_seed() == 7


def test_a_state_is_where_the_numbers_go_on():
    tgrad.manual_seed(7)
    tgrad.rand(3)
    state = tgrad.get_rng_state()
    assert state.dtype is tgrad.uint8
    a = tgrad.rand(4).tolist()
    tgrad.set_rng_state(state)
    assert tgrad.rand(4).tolist() == a


def test_generators_are_streams_of_their_own():
    a, b = tgrad.Generator().manual_seed(1), tgrad.Generator().manual_seed(1)
    before = tgrad.get_rng_state().tolist()
    assert tgrad.rand(3, generator=a).tolist() == tgrad.rand(3, generator=b).tolist()
    assert tgrad.get_rng_state().tolist() == before
    c, d = copy.deepcopy(a), pickle.loads(pickle.dumps(a))
    later = tgrad.rand(3, generator=a).tolist()
    assert later == tgrad.rand(3, generator=c).tolist() == tgrad.rand(3, generator=d).tolist()
    assert a.clone_state().get_state().tolist() == a.get_state().tolist()


def test_the_same_generator_seed_gives_the_same_on_a_gpu():
    g, h = tgrad.Generator("cpu"), tgrad.Generator("cuda")
    g.manual_seed(9)
    h.manual_seed(9)
    a = tgrad.rand(50, generator=g)
    assert a.tolist() == tgrad.rand(50, generator=h, device="cuda").tolist()
    with pytest.raises(RuntimeError, match="device type for generator"):
        tgrad.rand(2, generator=h)


def test_seed_is_unpredictable():
    g = tgrad.Generator()
    assert g.initial_seed() == 67280421310721
    assert g.seed() != g.seed() and g.initial_seed() != 67280421310721
    first = tgrad.seed()
    assert tgrad.initial_seed() == first
    tgrad.manual_seed(0)


def test_negative_seeds_wrap():
    assert tgrad.manual_seed(-1).initial_seed() == 2**64 - 1
    tgrad.manual_seed(0)


def test_fork_rng_leaves_the_generators_as_they_were():
    tgrad.manual_seed(21)
    tgrad.rand(2)
    tgrad.rand(2, device="cuda")
    with tgrad.random.fork_rng():
        inside = (tgrad.rand(2).tolist(), tgrad.rand(2, device="cuda").tolist())
    assert (tgrad.rand(2).tolist(), tgrad.rand(2, device="cuda").tolist()) == inside
    with tgrad.random.fork_rng(enabled=False):
        outside = tgrad.rand(2).tolist()
    assert tgrad.rand(2).tolist() != outside


def test_threads_draw_different_numbers():
    tgrad.manual_seed(0)
    seen: list[float] = []
    threads = [
        threading.Thread(target=lambda: seen.extend(tgrad.rand(40).tolist())) for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(seen)) == 320


# ---- the functions -------------------------------------------------------------------------------


def test_options_of_samples():
    assert tgrad.rand(2, 3).shape == tgrad.rand((2, 3)).shape == tgrad.rand(size=(2, 3)).shape
    assert tgrad.randn((), dtype=tgrad.float64).dtype is tgrad.float64
    assert tgrad.randn(3, requires_grad=True).requires_grad
    out = tgrad.empty(4)
    assert tgrad.rand(4, out=out) is out and out.min().item() >= 0
    assert tgrad.randint(5, (2,), dtype=tgrad.float32).dtype is tgrad.float32
    assert tgrad.randint(high=5, size=(2,)).max().item() < 5
    assert tgrad.randint(3, 5, size=(9,)).min().item() >= 3
    assert tgrad.randperm(5, dtype=tgrad.int32).dtype is tgrad.int32
    like = tgrad.zeros(2, 3, dtype=tgrad.float64, device="cuda")
    for made in (tgrad.rand_like(like), tgrad.randn_like(like), tgrad.randint_like(like, 2, 9)):
        assert made.dtype is tgrad.float64 and made.is_cuda and made.shape == (2, 3)
    assert tgrad.randint_like(like, 9, dtype=tgrad.int64).dtype is tgrad.int64


def test_normal_takes_numbers_and_tensors():
    assert tgrad.normal(1.0, 0.0, (2, 2)).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    mean, std = tgrad.arange(3.0), tgrad.zeros(2, 1)
    assert tgrad.normal(mean, std).tolist() == [[0.0, 1.0, 2.0]] * 2
    assert tgrad.normal(mean, 0.0).tolist() == [0.0, 1.0, 2.0]
    assert tgrad.normal(2.0, std).tolist() == [[2.0], [2.0]]
    tgrad.manual_seed(0)
    a = tgrad.normal(tgrad.zeros(100), 2.0)
    tgrad.manual_seed(0)
    assert a.tolist() == (tgrad.randn(100) * 2).tolist()


def test_samples_in_place_have_no_gradient():
    x = tgrad.ones(3, requires_grad=True)
    y = x * 2
    y.uniform_()
    (y + x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0, 1.0]
    p = tgrad.full((3,), 0.5, requires_grad=True)
    assert not tgrad.bernoulli(p).requires_grad
