"""Einstein summation: every equation becomes permutations, sums and batched matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tgrad.autograd.variable import Variable
from tgrad.dispatch import OPS, composite
from tgrad.ops.matmul import matmul

if TYPE_CHECKING:
    from tgrad.tensor import Tensor

# A label is a letter's index in LETTERS, or a negative number for a dim that "..." stands for,
# counted from the right.
LETTERS = string.ascii_uppercase + string.ascii_lowercase
ELLIPSIS = -1000
Labels = tuple[int, ...]


# ---- reading the equation ------------------------------------------------------------------------


def _subscripts(text: str, where: str, start: int) -> Labels:
    """The labels of one operand or of the output, "..." as ELLIPSIS."""
    labels: list[int] = []
    i = 0
    while i < len(text):
        c = text[i]
        if c == ".":
            if ELLIPSIS in labels:
                raise RuntimeError(
                    f"einsum(): found '.' for {where} for which an ellipsis was already found"
                )
            if text[i : i + 3] != "...":
                raise RuntimeError(
                    f"einsum(): found '.' for {where} that is not part of any ellipsis"
                )
            labels.append(ELLIPSIS)
            i += 3
            continue
        if c != " ":
            if c not in LETTERS:
                raise RuntimeError(
                    f"einsum(): invalid subscript given at index {start + i} in the equation "
                    "string, subscripts must be in [a-zA-Z]"
                )
            labels.append(LETTERS.index(c))
        i += 1
    return tuple(labels)


def _parse(equation: str) -> tuple[list[Labels], Labels | None]:
    """Labels of the operands, and of the output where "->" gives them."""
    left, arrow, right = equation.partition("->")
    inputs, start = [], 0
    for k, part in enumerate(left.split(",")):
        inputs.append(_subscripts(part, f"operand {k}", start))
        start += len(part) + 1
    return inputs, _subscripts(right, "output", len(left) + 2) if arrow else None


def _sublist(subscripts: object) -> Labels:
    """The labels of a list like ``[0, 1, ...]``."""
    if not isinstance(subscripts, (list, tuple)):
        raise TypeError(f"einsum(): expected a list of subscripts, got {type(subscripts).__name__}")
    labels = []
    for v in subscripts:
        if v is Ellipsis:
            labels.append(ELLIPSIS)
        elif not 0 <= v < len(LETTERS):
            raise ValueError(
                f"einsum(): subscript {v} in subscript list is not within the valid range "
                f"[0, {len(LETTERS)})"
            )
        else:
            labels.append(int(v))
    return tuple(labels)


def _arguments(args: tuple) -> tuple[list[Labels], Labels | None, list[Tensor]]:
    """Input labels, output labels or None, operands; from either form of the call."""
    if len(args) < 2:
        raise ValueError(
            "einsum(): must specify the equation string and at least one operand, or at least one "
            "operand and its subscripts list"
        )
    if isinstance(args[0], Variable):
        pairs, rest = args[: len(args) // 2 * 2], args[len(args) // 2 * 2 :]
        inputs = [_sublist(s) for s in pairs[1::2]]
        return inputs, _sublist(rest[0]) if rest else None, list(pairs[::2])
    if not isinstance(args[0], str):
        raise TypeError(
            f"einsum(): argument 'equation' (position 1) must be str, not {type(args[0]).__name__}"
        )
    operands = args[1] if len(args) == 2 and isinstance(args[1], (list, tuple)) else args[1:]
    return *_parse(args[0]), list(operands)


def _letter(label: int) -> str:
    return LETTERS[label] if label >= 0 else f"dimension {label} of the ellipsis"


def _spread_ellipsis(labels: Labels, k: int, ndim: int) -> Labels:
    """Operand ``k``'s labels with one label per dim. Raises RuntimeError where counts differ."""
    named = len(labels) - (ELLIPSIS in labels)
    if (named > ndim) if ELLIPSIS in labels else (named != ndim):
        raise RuntimeError(
            f"einsum(): the number of subscripts in the equation ({named}) does not match the "
            f"number of dimensions ({ndim}) for operand {k}"
            + ("" if ELLIPSIS in labels else " and no ellipsis was given")
        )
    if ELLIPSIS not in labels:
        return labels
    at = labels.index(ELLIPSIS)
    return (*labels[:at], *range(named - ndim, 0), *labels[at + 1 :])


def _output(inputs: list[Labels], output: Labels | None) -> Labels:
    """The output's labels, worked out where not given: ellipsis, then letters that occur once."""
    seen = [v for labels in inputs for v in labels]
    covered = tuple(range(min([0, *seen]), 0))
    if output is None:
        return (*covered, *sorted(v for v in set(seen) if v >= 0 and seen.count(v) == 1))
    for v in output:
        if output.count(v) > 1:
            raise RuntimeError(
                f"einsum(): output subscript {_letter(v)} appears more than once in the output"
            )
        if v != ELLIPSIS and v not in seen:
            raise RuntimeError(
                f"einsum(): output subscript {_letter(v)} does not appear in the equation for any "
                "input operand"
            )
    if ELLIPSIS not in output:
        return output
    at = output.index(ELLIPSIS)
    return (*output[:at], *covered, *output[at + 1 :])


def _sizes(inputs: list[Labels], operands: list[Tensor]) -> dict[int, int]:
    """The size of each label; 1 broadcasts. Raises RuntimeError for any other disagreement."""
    sizes: dict[int, int] = {}
    for k, (labels, x) in enumerate(zip(inputs, operands, strict=True)):
        own: dict[int, int] = {}
        for v, n in zip(labels, x.shape, strict=True):
            if own.setdefault(v, n) != n:
                raise RuntimeError(
                    f"einsum(): subscript {_letter(v)} is repeated for operand {k} but the sizes "
                    f"don't match, {n} != {own[v]}"
                )
            have = sizes.setdefault(v, n)
            if have != n and 1 not in (have, n):
                raise RuntimeError(
                    f"einsum(): subscript {_letter(v)} has size {n} for operand {k} which does not "
                    f"broadcast with previously seen size {have}"
                )
            if have == 1:
                sizes[v] = n
    return sizes


# ---- computing -----------------------------------------------------------------------------------


class _Term:
    """A tensor whose dims carry distinct labels."""

    __slots__ = ("labels", "x")

    def __init__(self, x: Tensor, labels: Labels):
        self.x, self.labels = x, labels

    def size(self, label: int) -> int:
        return self.x.shape[self.labels.index(label)]

    def without(self, gone: set[int], total: bool) -> _Term:
        """Summed over the labels ``gone``; where not ``total`` they have size 1 and are dropped."""
        axes = [i for i, v in enumerate(self.labels) if v in gone]
        if not axes:
            return self
        kept = tuple(v for v in self.labels if v not in gone)
        if total:
            return _Term(self.x.sum(axes, dtype=self.x.dtype), kept)
        return _Term(self.x.reshape(tuple(self.size(v) for v in kept)), kept)

    def arranged(self, *groups: Sequence[int]) -> Tensor:
        """Dims in the order of the labels in ``groups``."""
        order = [self.labels.index(v) for group in groups for v in group]
        return self.x if order == list(range(len(order))) else self.x.permute(*order)


def _distinct(x: Tensor, labels: Labels) -> _Term:
    """Diagonals in the place of repeated labels."""
    for v in dict.fromkeys(labels):
        while labels.count(v) > 1:
            i = labels.index(v)
            j = labels.index(v, i + 1)
            x = OPS["diagonal"].function(x, 0, i, j)
            labels = (*(w for k, w in enumerate(labels) if k not in (i, j)), v)
    return _Term(x, labels)


def _prod(term: _Term, labels: Sequence[int]) -> int:
    n = 1
    for v in labels:
        n *= term.size(v)
    return n


def _contract(a: _Term, b: _Term, needed: set[int]) -> _Term:
    """The product of two terms, summed over all labels that are not ``needed`` afterwards."""
    # A label of size 1 in one term and n in the other broadcasts: it belongs to the other alone.
    shared = set(a.labels) & set(b.labels)
    narrow_a = {v for v in shared if a.size(v) == 1 and b.size(v) != 1}
    narrow_b = {v for v in shared if b.size(v) == 1 and a.size(v) != 1}
    a, b = a.without(narrow_a, False), b.without(narrow_b, False)
    a = a.without(set(a.labels) - set(b.labels) - needed, True)
    b = b.without(set(b.labels) - set(a.labels) - needed, True)

    larger = a if a.x.numel() >= b.x.numel() else b
    summed = [v for v in larger.labels if v in a.labels and v in b.labels and v not in needed]
    batch = [v for v in a.labels if v in b.labels and v in needed]
    left = [v for v in a.labels if v not in b.labels]
    right = [v for v in b.labels if v not in a.labels]
    result = (*batch, *left, *right)
    if not summed:
        x = a.arranged(batch, left)
        x = x.reshape(*x.shape, *(1 for _ in right)) if right and x.ndim else x
        y = b.arranged(batch, right)
        y = y.reshape(*y.shape[: len(batch)], *(1 for _ in left), *y.shape[len(batch) :])
        return _Term(x * y, result)
    sizes = [a.size(v) for v in batch]
    m, k, n = _prod(a, left), _prod(a, summed), _prod(b, right)
    product = matmul(
        a.arranged(batch, left, summed).reshape(*sizes, m, k),
        b.arranged(batch, summed, right).reshape(*sizes, k, n),
    )
    shape = (*sizes, *(a.size(v) for v in left), *(b.size(v) for v in right))
    return _Term(product.reshape(shape), result)


def _cheapest(terms: list[_Term], sizes: dict[int, int]) -> tuple[int, int]:
    """The pair whose product takes the fewest multiplications; of equals the leftmost."""
    pairs = [(i, j) for j in range(len(terms)) for i in range(j)]

    def cost(pair: tuple[int, int]) -> int:
        n = 1
        for v in {*terms[pair[0]].labels, *terms[pair[1]].labels}:
            n *= sizes[v]
        return n

    return min(pairs, key=cost)


@composite(spaces=("tgrad",))
def einsum(*args: object) -> Tensor:
    """Sum of products in Einstein's notation: ``einsum("bik,kj->bij", x, w)``.

    Letters name dims; one that is missing on the right is summed over, one that is repeated within
    an operand takes its diagonal, "..." stands for any dims, which broadcast. Without "->" the
    result has the dims of "..." and then, sorted, the letters that occur once. Spaces are ignored.
    ``einsum(x, [0, 1], w, [1, 2], [0, 2])`` is the same with numbers.

    Three and more operands are multiplied two at a time, always the pair that takes the fewest
    multiplications then (greedy, as opt_einsum: Smith and Gray 2018, doi:10.21105/joss.00753).

    dtype: that of the operands, which must agree.
    Raises: RuntimeError for an equation that is not well formed or does not fit the operands.
    """
    inputs, output, operands = _arguments(args)
    if len(operands) != len(inputs):
        what = "fewer" if len(operands) < len(inputs) else "more"
        raise RuntimeError(
            f"einsum(): {what} operands were provided than specified in the equation"
        )
    for x in operands:
        if not isinstance(x, Variable):
            raise TypeError(f"einsum(): expected a Tensor, got {type(x).__name__}")
    inputs = [
        _spread_ellipsis(labels, k, x.ndim)
        for k, (labels, x) in enumerate(zip(inputs, operands, strict=True))
    ]
    wanted = _output(inputs, output)
    sizes = _sizes(inputs, operands)
    terms = [_distinct(x, labels) for x, labels in zip(operands, inputs, strict=True)]
    while len(terms) > 1:
        i, j = _cheapest(terms, sizes)
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        needed = {v for t in rest for v in t.labels} | set(wanted)
        rest.insert(i, _contract(terms[i], terms[j], needed))
        terms = rest
    term = terms[0].without(set(terms[0].labels) - set(wanted), True)
    return term.arranged(wanted)
