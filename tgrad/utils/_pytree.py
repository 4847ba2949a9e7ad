"""Trees of containers with values at their leaves: taken apart, mapped over, put together again.

Lists, tuples, named tuples, dicts (ordered, with a default) and deques are nodes; everything else
is a leaf, None included, unless its class was registered.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

__all__ = [
    "PyTree", "TreeSpec", "register_pytree_node", "tree_all", "tree_all_only", "tree_any",
    "tree_any_only", "tree_flatten", "tree_iter", "tree_leaves", "tree_map", "tree_map_",
    "tree_map_only", "tree_structure", "tree_unflatten",
]  # fmt: skip

PyTree = Any
Take = Callable[[Any], "tuple[list[Any], Any]"]
Build = Callable[[Iterable[Any], Any], Any]


class Kind(NamedTuple):
    """How a class of nodes is taken apart into (children, context) and built again."""

    take: Take
    build: Build


_KINDS: dict[type, Kind] = {}


def register_pytree_node(cls: type, flatten_fn: Take, unflatten_fn: Build, **_names: Any) -> None:
    """Make instances of ``cls`` nodes. Raises ValueError if they are already."""
    if cls in _KINDS:
        raise ValueError(f"{cls} is already registered as pytree node.")
    _KINDS[cls] = Kind(flatten_fn, unflatten_fn)


def _take_dict(d: Any) -> tuple[list[Any], Any]:
    return list(d.values()), list(d)


register_pytree_node(list, lambda x: (list(x), None), lambda c, _: list(c))
register_pytree_node(tuple, lambda x: (list(x), None), lambda c, _: tuple(c))
register_pytree_node(dict, _take_dict, lambda c, keys: dict(zip(keys, c, strict=True)))
register_pytree_node(
    OrderedDict, _take_dict, lambda c, keys: OrderedDict(zip(keys, c, strict=True))
)
register_pytree_node(
    defaultdict,
    lambda d: (list(d.values()), (d.default_factory, list(d))),
    lambda c, made: defaultdict(made[0], zip(made[1], c, strict=True)),
)
register_pytree_node(deque, lambda d: (list(d), d.maxlen), lambda c, most: deque(c, maxlen=most))
_NAMED = Kind(lambda x: (list(x), type(x)), lambda c, cls: cls(*c))


def _kind(tree: Any) -> Kind | None:
    cls = type(tree)
    named = issubclass(cls, tuple) and hasattr(cls, "_fields") and cls.__bases__ == (tuple,)
    return _NAMED if named else _KINDS.get(cls)


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a tree: the class and context of a node and its children's; a leaf has none."""

    type: Any
    context: Any
    children_specs: list[TreeSpec] = field(default_factory=list)

    @property
    def num_leaves(self) -> int:
        return 1 if self.is_leaf() else sum(c.num_leaves for c in self.children_specs)

    @property
    def num_children(self) -> int:
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None


_LEAF = TreeSpec(None, None)


def tree_flatten(
    tree: PyTree, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[Any], TreeSpec]:
    """(leaves, shape) of a tree; where ``is_leaf`` says True it is not looked into."""
    leaves: list[Any] = []

    def visit(x: Any) -> TreeSpec:
        kind = None if is_leaf is not None and is_leaf(x) else _kind(x)
        if kind is None:
            leaves.append(x)
            return _LEAF
        children, context = kind.take(x)
        return TreeSpec(type(x), context, [visit(c) for c in children])

    return leaves, visit(tree)


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> PyTree:
    """The tree of a shape with these leaves. Raises ValueError for another number of them."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(
            f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec "
            f"refers to a pytree that holds {treespec.num_leaves} items"
        )
    rest = iter(leaves)

    def build(spec: TreeSpec) -> Any:
        if spec.is_leaf():
            return next(rest)
        children = [build(c) for c in spec.children_specs]
        kind = _KINDS.get(spec.type, _NAMED)
        return kind.build(children, spec.context)

    return build(treespec)


def tree_leaves(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> Iterator[Any]:
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: PyTree, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(
    func: Callable[..., Any],
    tree: PyTree,
    *rests: PyTree,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """``func`` of each leaf, and of those in the same place of ``rests``, in a tree like ``tree``.

    Raises: ValueError where another tree has another shape.
    """
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for other in rests:
        found, theirs = tree_flatten(other, is_leaf)
        if theirs != spec:
            raise ValueError(f"tree_map: expected a tree of shape {spec}, got {theirs}")
        columns.append(found)
    return tree_unflatten([func(*row) for row in zip(*columns, strict=True)], spec)


def tree_map_(func: Callable[..., Any], tree: PyTree, *rests: PyTree) -> PyTree:
    """Call ``func`` as :func:`tree_map` does, for what it does; returns ``tree``."""
    tree_map(func, tree, *rests)
    return tree


def tree_map_only(
    cls: type | tuple[type, ...],
    func: Callable[[Any], Any],
    tree: PyTree,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """:func:`tree_map` of the leaves that are instances of ``cls``; others stay."""
    return tree_map(lambda x: func(x) if isinstance(x, cls) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return all(map(pred, tree_leaves(tree)))


def tree_any(pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return any(map(pred, tree_leaves(tree)))


def tree_all_only(cls: type, pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return all(pred(x) for x in tree_leaves(tree) if isinstance(x, cls))


def tree_any_only(cls: type, pred: Callable[[Any], bool], tree: PyTree) -> bool:
    return any(pred(x) for x in tree_leaves(tree) if isinstance(x, cls))
