"""Pointwise ops with several outputs: one launch, one pass over pieces, gradients, ``out=``."""

from __future__ import annotations

import numpy as np
import pytest

import tgrad
from tests.fake_driver import on_fake_driver
from tests.replays import Watch, counted_replays, start
from tgrad import library
from tgrad.kernels.cuda.limits import limits
from tgrad.library import gradient, xp

rng = np.random.default_rng(0)


def declare():
    @library.pointwise(result=("float", "bool", "promote", "int32"))
    def parted(x, other):
        """The quotient, whether x is larger, x itself, and the exponent of their difference."""
        d = x - other
        return xp.div(d, xp.abs(other) + 1), xp.gt(x, other), x, xp.exponent(d)

    @gradient(parted, "x")
    def _(g0, g2, other):
        return (0 if g0 is None else g0 / (other.abs() + 1)) + (0 if g2 is None else g2)

    @gradient(parted, "other")
    def _(g0, y0, other):
        return None if g0 is None else -g0 * (1 + y0 * other.sgn()) / (other.abs() + 1)

    return parted


@pytest.fixture
def parted():
    op = declare()
    yield op
    library.unregister(op)


def expected(x: np.ndarray, other: np.ndarray) -> list[np.ndarray]:
    d = x - other
    return [d / (np.abs(other) + 1), x > other, x + 0 * other, np.frexp(d)[1]]


def check(parted, x: tgrad.Tensor, other: tgrad.Tensor, rtol: float = 1e-6) -> None:
    for device in ("cpu", "cuda"):
        got = parted(x.to(device), other.to(device))
        assert isinstance(got, tuple)
        assert [y.dtype for y in got] == [x.dtype, tgrad.bool, x.dtype, tgrad.int32]
        for y, want in zip(got, expected(x.numpy(), other.numpy()), strict=True):
            np.testing.assert_allclose(y.cpu().numpy(), want, rtol=rtol)


def pair(*shape: int) -> tuple[tgrad.Tensor, tgrad.Tensor]:
    both = tgrad.from_numpy(rng.standard_normal((2, *shape)).astype(np.float32))
    return both[0], both[1]


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (37, 19), (3, 16, 32), (2, 70000)])
def test_several_outputs_have_each_its_value_and_dtype(parted, shape):
    check(parted, *pair(*shape))


WAYS = {
    "rows": lambda x, y: (x, y[:1]),
    "odd rows": lambda x, y: (x[:, :23], y[:1, :23]),
    "columns": lambda x, y: (x, y[:, :1]),
    "one element": lambda x, y: (x, y[:1, :1]),
    "turned": lambda x, y: (x.t(), y[0, :, None]),
    "turned operand": lambda x, y: (x[:24, :24].t(), y[:24, :24]),
    "strided": lambda x, y: (x[::2, ::3], y[::2, ::3]),
    "short rows": lambda x, y: (x[:, :3], y[:, :1]),
}


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_several_outputs_go_every_way_through_memory(parted, monkeypatch, way, wide):
    monkeypatch.setattr(limits, "inner", 8)
    monkeypatch.setattr(limits, "transposed", 8)
    if wide:
        monkeypatch.setattr(limits, "index", 1)
    check(parted, *WAYS[way](*pair(37, 24)))


def test_several_outputs_are_computed_piece_by_piece_and_in_threads(parted):
    x, other = pair(3, 500_000)  # several pieces, and large enough for two threads
    for y, want in zip(parted(x, other), expected(x.numpy(), other.numpy()), strict=True):
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-6)
    wide, row = tgrad.from_numpy(rng.standard_normal((700, 900))).t(), pair(700)[1].double()
    for y, want in zip(parted(wide, row), expected(wide.numpy(), row.numpy()), strict=True):
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gradients_of_several_outputs_flow_together_and_alone(parted, device):
    x, other = (t.double().to(device).requires_grad_() for t in pair(4, 5))
    y0, _, y2, y3 = parted(x, other)
    assert y0.requires_grad and y2.requires_grad and not y3.requires_grad
    g0, g2 = (t.double().to(device) for t in pair(4, 5))
    dx, dother = tgrad.autograd.grad((y0, y2), (x, other), (g0, g2), retain_graph=True)
    tgrad.testing.assert_close(dx, g0 / (other.abs() + 1) + g2)
    (alone,) = tgrad.autograd.grad(y2, x, g2)
    tgrad.testing.assert_close(alone, g2)
    tgrad.autograd.gradcheck(lambda x, other: parted(x, other)[0], (x, other))
    assert dother.shape == other.shape


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_several_outputs_are_written_into_out(parted, device):
    x, other = (t.to(device) for t in pair(4, 5))
    want = parted(x, other)
    outs = tuple(tgrad.zeros_like(y) for y in want)
    places = [o.data_ptr() for o in outs]
    assert parted(x, other, out=outs) is outs
    assert [o.data_ptr() for o in outs] == places
    for o, y in zip(outs, want, strict=True):
        tgrad.testing.assert_close(o, y)
    # One that is an input, and two that overlap each other: as if all were computed before.
    both = tgrad.zeros(5, 5, device=device)
    given = x.clone()
    parted(given, other, out=(given, outs[1], both[:4], outs[3]))
    tgrad.testing.assert_close(given, want[0])
    tgrad.testing.assert_close(both[:4], want[2])
    parted(x, other, out=(both[:4], outs[1], both[1:], outs[3]))
    tgrad.testing.assert_close(both[1:], want[2])
    with pytest.raises(TypeError, match=r"'out' must be 4 tensors, not 2"):
        parted(x, other, out=outs[:2])
    with pytest.raises(RuntimeError, match="can't be cast"):
        parted(x, other, out=(outs[3], *outs[1:]))


def test_an_op_with_several_outputs_has_no_form_in_place():
    x = tgrad.ones(3)
    assert hasattr(x, "frexp") and not hasattr(x, "frexp_")


def test_result_names_as_many_dtypes_as_the_expression_returns():
    @library.pointwise
    def ill_declared(x):
        """Two values, declared as one."""
        return x, x + 1

    try:
        with pytest.raises(TypeError, match="returns 2 values, and 'result' gives the dtypes of 1"):
            ill_declared(tgrad.ones(3))
    finally:
        library.unregister(ill_declared)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_frexp_splits_numbers_below_the_normal_range(kind):
    facts = np.finfo(kind)
    tiny, least = facts.tiny, facts.smallest_subnormal
    x = np.array([tiny, tiny / 2, -tiny / 3, least, -least * 5, facts.max, 0.0, -0.0], kind)
    for device in ("cpu", "cuda"):
        m, e = tgrad.frexp(tgrad.from_numpy(x).to(device))
        for got, want in zip((m, e), np.frexp(x), strict=True):
            np.testing.assert_array_equal(got.cpu().numpy(), want)
        assert not np.signbit(m.cpu().numpy()[-2]) and np.signbit(m.cpu().numpy()[-1])


@on_fake_driver()
def test_several_outputs_take_one_launch_replayed_too():
    tgrad, fake = start()
    parted, watch = declare(), Watch(fake)
    x, other = tgrad.ones(37, 19, device="cuda"), tgrad.ones(19, device="cuda")
    full = watch.launches(lambda: parted(x, other))
    assert len(full) == 1
    watch.launches(lambda: parted(x, other))
    count = counted_replays()
    assert watch.launches(lambda: parted(x, other)) == full and count[0] == 1
    made = parted(x.requires_grad_(), other)
    assert [y.dtype for y in made] == [tgrad.float32, tgrad.bool, tgrad.float32, tgrad.int32]
    assert [y.requires_grad for y in made] == [True, False, True, False]
    assert len({y.data_ptr() for y in made}) == 4 and count[0] == 2


# ---- gradients together --------------------------------------------------------------------------

PAIRS = {
    "mul": lambda x, other: x * other,
    "div": lambda x, other: x / other,
    "where": lambda x, other: tgrad.where(x.detach() > other.detach(), x, other),
    "atan2": lambda x, other: tgrad.atan2(x, other),
    "hypot": lambda x, other: tgrad.hypot(x, other),
    "addcmul": lambda x, other: tgrad.addcmul(x.detach(), x, other, value=-0.5),
    "addcdiv": lambda x, other: tgrad.addcdiv(other.detach(), x, other, value=3),
}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", PAIRS)
def test_gradients_together_are_those_alone(name, device):
    g, (x, other) = pair(5, 7)[0].to(device), (t.to(device) for t in pair(5, 7))
    for b in (other, other[:1].clone(), other[0, 0].clone()):  # whole, and to be summed up
        f = PAIRS[name]
        alone = []
        for k in range(2):
            args = [a.clone().requires_grad_(i == k) for i, a in enumerate((x, b))]
            alone += tgrad.autograd.grad(f(*args), args[k], g)
        args = [a.clone().requires_grad_() for a in (x, b)]
        together = tgrad.autograd.grad(f(*args), args, g)
        for a, t in zip(alone, together, strict=True):
            assert a.shape == t.shape
            tgrad.testing.assert_close(a, t)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_together_are_differentiable_again(name):
    x, other = (t.double().abs() + 0.5 for t in pair(2, 3))
    args = (x.requires_grad_(), other.requires_grad_())
    assert tgrad.autograd.gradgradcheck(PAIRS[name], args)
    assert tgrad.autograd.gradgradcheck(lambda x: PAIRS[name](x, other.detach()), args[:1])


def test_a_gradient_needed_alone_keeps_what_it_reads_alone():
    x, other = (t.requires_grad_() for t in pair(5, 7))
    both, alone = (x * other).grad_fn, (x * other.detach()).grad_fn
    assert [rule.names for rule in both.rules] == [["g", "x", "other"]]
    assert [rule.names for rule in alone.rules] == [["g", "other"]]
    assert [rule.names for rule in (x.detach() / other).grad_fn.rules] == [["g", "y", "other"]]
    assert [rule.names for rule in (x / 2).grad_fn.rules] == [["g", "other"]]


def test_a_complex_gradient_together_is_conjugated():
    x, other = (tgrad.complex(*pair(3, 4)).requires_grad_() for _ in range(2))
    g = tgrad.complex(*pair(3, 4))
    dx, dother = tgrad.autograd.grad(x * other, (x, other), g)
    tgrad.testing.assert_close(dx, g * other.conj())
    tgrad.testing.assert_close(dother, g * x.conj())


@on_fake_driver()
def test_both_gradients_of_a_pair_take_one_launch():
    tgrad, fake = start()
    watch = Watch(fake)
    x, other = (tgrad.ones(37, 19, device="cuda").requires_grad_() for _ in range(2))
    g, mask = tgrad.ones(37, 19, device="cuda"), tgrad.ones(37, 19, device="cuda") > 0
    made = [x * other, x / other, tgrad.where(mask, x, other), tgrad.atan2(x, other)]
    made += [tgrad.hypot(x, other), tgrad.addcmul(g, x, other), tgrad.addcdiv(g, x, other)]
    for y in made:
        both = watch.launches(
            lambda y=y: tgrad.autograd.grad(y, (x, other), g, retain_graph=True)
        )  # fmt: skip
        assert len(both) == 1, y.grad_fn


def test_the_factor_may_stand_before_the_tensors_as_in_old_programs():
    x, a, b = tgrad.tensor([1.0, 2.0]), tgrad.tensor([3.0, 4.0]), tgrad.tensor([2.0, 8.0])
    with pytest.warns(UserWarning, match="the order of old programs"):
        assert x.add(2, a).tolist() == [7.0, 10.0] and tgrad.sub(x, 2, a).tolist() == [-5.0, -6.0]
        assert x.addcmul(-1, a, b).tolist() == [-5.0, -30.0]
        assert x.addcdiv(2, a, b).tolist() == [4.0, 3.0]
        y = x.clone().mul_(0.5).add_(0.5, a).addcdiv_(-1.0, a, b).addcmul_(2.0, a, b)
    assert y.equal(x.mul(0.5) + 0.5 * a - a / b + 2 * a * b)
    assert x.addcdiv(a, b, value=2).tolist() == [4.0, 3.0]
    with pytest.raises(TypeError, match="positional"):
        x.add(2, a, b)
