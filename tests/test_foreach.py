"""``T._foreach_*`` is the op on each tensor of the list, in place where the name says so."""

from __future__ import annotations

from typing import Any

import pytest

import tgrad

T: Any = tgrad  # names that are made when they are asked for


def lists():
    return [tgrad.tensor([1.0, 4.0]), tgrad.tensor([9.0])], [tgrad.ones(2), tgrad.zeros(1)]


@pytest.mark.parametrize("op", ["sqrt", "neg", "exp", "reciprocal", "sign"])
def test_each_tensor_gets_the_op(op):
    xs, _ = lists()
    found = getattr(T, f"_foreach_{op}")(xs)
    assert isinstance(found, tuple)
    assert all(y.equal(getattr(x, op)()) for x, y in zip(xs, found, strict=True))
    assert getattr(T, f"_foreach_{op}_")(xs) is xs
    assert all(x.equal(y) for x, y in zip(xs, found, strict=True))


def test_the_other_operand_is_a_list_a_number_or_a_tensor():
    xs, ys = lists()
    for other in (ys, [2.0, 3.0], 2.0, tgrad.tensor(2.0)):
        each = other if isinstance(other, list) else [other, other]
        found = T._foreach_mul(xs, other)
        assert all(f.equal(x * e) for f, x, e in zip(found, xs, each, strict=True))
    assert T._foreach_add(xs, ys, alpha=3)[0].tolist() == [4.0, 7.0]
    assert T._foreach_maximum(xs, 2.0)[0].tolist() == [2.0, 4.0]
    assert T._foreach_pow(2.0, ys)[0].tolist() == [2.0, 2.0]


def test_an_average_of_weights_is_one_lerp():
    average, weights = lists()
    before = [a.clone() for a in average]
    T._foreach_lerp_(average, weights, 0.25)
    for a, b, w in zip(average, before, weights, strict=True):
        assert tgrad.allclose(a, b + 0.25 * (w - b))


def test_products_are_added_with_one_factor_or_one_for_each():
    xs, ys = lists()
    assert T._foreach_addcmul(xs, ys, xs, 2.0)[0].tolist() == [3.0, 12.0]
    assert T._foreach_addcdiv(xs, xs, xs, [1.0, 2.0])[1].tolist() == [11.0]
    T._foreach_addcdiv_(xs, ys, xs, -1)
    assert xs[0].tolist() == [0.0, 3.75] and xs[1].tolist() == [9.0]


def test_norms_copies_and_zeros():
    xs, ys = lists()
    assert [n.item() for n in T._foreach_norm(xs, 1)] == [5.0, 9.0]
    assert [m.item() for m in T._foreach_max(xs)] == [4.0, 9.0]
    assert T._foreach_copy_(ys, xs) is ys and ys[0].equal(xs[0])
    T._foreach_zero_(ys)
    assert ys[1].tolist() == [0.0] and xs[1].tolist() == [9.0]


def test_gradients_flow_to_each_tensor():
    xs = [x.requires_grad_() for x in lists()[0]]
    tgrad.cat(T._foreach_mul(xs, 3.0)).sum().backward()
    assert xs[0].grad.tolist() == [3.0, 3.0] and xs[1].grad.tolist() == [3.0]


def test_lists_of_other_lengths_and_unknown_names_are_refused():
    xs, _ = lists()
    with pytest.raises(RuntimeError, match="same number of tensors, got 2 and 1"):
        T._foreach_add(xs, xs[:1])
    with pytest.raises(RuntimeError, match="at least one tensor"):
        T._foreach_add([], 1.0)
    with pytest.raises(AttributeError, match="_foreach_nothing"):
        T._foreach_nothing  # noqa: B018
