"""Trees of containers: leaves in order, the same shape again, functions of every leaf."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

from tgrad.utils import _pytree as pytree

Pair = namedtuple("Pair", "a b")
TREE = {
    "b": [1, (2, None)],
    "a": Pair(3, OrderedDict(x=4)),
    "c": deque([5, 6], maxlen=4),
    "d": defaultdict(list, y=7),
}


def test_a_tree_is_built_again_from_its_leaves():
    leaves, spec = pytree.tree_flatten(TREE)
    assert leaves == [1, 2, None, 3, 4, 5, 6, 7] and spec.num_leaves == 8
    again = pytree.tree_unflatten(leaves, spec)
    assert again == TREE and again["c"].maxlen == 4 and again["d"].default_factory is list
    assert type(again["a"]) is Pair and type(again["a"].b) is OrderedDict
    with pytest.raises(ValueError, match="has length 1 but the spec"):
        pytree.tree_unflatten([1], spec)


def test_functions_are_mapped_over_leaves_of_one_tree_or_several():
    assert pytree.tree_map(lambda x, y: x + y, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert pytree.tree_map_only(int, lambda x: -x, TREE)["b"] == [-1, (-2, None)]
    assert pytree.tree_map(len, [(1, 2), (3,)], is_leaf=lambda x: isinstance(x, tuple)) == [2, 1]
    assert pytree.tree_all_only(int, lambda x: x > 0, TREE)
    assert pytree.tree_any(lambda x: x is None, TREE)
    with pytest.raises(ValueError, match="tree_map: expected a tree of shape"):
        pytree.tree_map(max, [1], (1,))


def test_a_registered_class_is_a_node():
    class Box:
        def __init__(self, inside):
            self.inside = inside

    assert isinstance(pytree.tree_leaves(Box(1))[0], Box)
    take = lambda box: ([box.inside], None)  # noqa: E731
    pytree.register_pytree_node(Box, take, lambda children, _: Box(*children))
    assert pytree.tree_map(lambda x: x + 1, Box([1, 2])).inside == [2, 3]
    with pytest.raises(ValueError, match="already registered"):
        pytree.register_pytree_node(Box, take, lambda children, _: Box(*children))
