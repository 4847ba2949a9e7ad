"""Printing tensors as PyTorch prints them: aligned columns, a precision, the middle left out.

One notation serves a whole tensor: whole numbers as ``1.``, four decimals, or, where magnitudes
span more than 1000 or leave [1e-4, 1e8], scientific.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tgrad import dtypes

if TYPE_CHECKING:
    from tgrad.tensor import Tensor


@dataclass
class Options:
    """What ``set_printoptions`` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


class _Current:
    options = Options()


PROFILES = {"default": Options(), "short": Options(precision=2, edgeitems=2),
            "full": Options(threshold=math.inf)}  # fmt: skip


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Digits after the point, elements above which the middle is left out, how many stay at each
    end, columns a line; ``profile`` "default", "short" or "full" sets them all; ``sci_mode`` forces
    scientific notation on or off, None (the default) chooses it by the values.

    Raises: KeyError for an unknown profile.
    """
    options = _Current.options if profile is None else replace(PROFILES[profile])
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    for name, value in given.items():
        if value is not None:
            setattr(options, name, value)
    options.sci_mode = sci_mode
    _Current.options = options


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """:func:`set_printoptions` inside a ``with`` block only."""
    before = replace(_Current.options)
    set_printoptions(**options)
    try:
        yield
    finally:
        _Current.options = before


class Formatter:
    """The notation and width that suit all of ``values``, a flat array of real numbers."""

    def __init__(self, values: np.ndarray, options: Options):
        self.floating = values.dtype.kind not in "biu"
        self.precision = options.precision
        self.whole, self.scientific, self.width = True, False, 1
        if not self.floating:
            self.width = max((len(str(v)) for v in values.tolist()), default=1)
            return
        finite = values[np.isfinite(values) & (values != 0)]
        if not finite.size:
            return
        self.whole = bool((finite == np.ceil(finite)).all())
        low, high = float(np.abs(finite).min()), float(np.abs(finite).max())
        self.scientific = high / low > 1000 or high > 1e8 or low < 1e-4
        if options.sci_mode is not None:
            self.scientific = options.sci_mode
        self.width = max(len(self.number(v)) for v in finite.tolist())

    def number(self, v: Any) -> str:
        """``v`` without padding."""
        if not self.floating:
            return str(v)
        if self.scientific:
            return f"{v:.{self.precision}e}"
        if self.whole:
            return f"{v:.0f}" + ("." if math.isfinite(v) else "")
        return f"{v:.{self.precision}f}"

    def __call__(self, v: Any) -> str:
        return self.number(v).rjust(self.width)


class ComplexFormatter:
    """Real and imaginary parts, each in its own notation."""

    floating = True

    def __init__(self, values: Any, options: Options):
        self.real, self.imag = Formatter(values.real, options), Formatter(values.imag, options)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, v: Any) -> str:
        imag = self.imag(v.imag).lstrip() + "j"
        return self.real(v.real) + (imag if imag[0] in "+-" else "+" + imag)


def vector(a: np.ndarray, indent: int, cut: bool, form: Any, options: Options) -> str:
    """``[1, 2, 3]``, broken where the line is full."""
    per_line = max(1, (options.linewidth - indent) // (form.width + 2))
    ends = options.edgeitems
    if cut and not ends:
        items = ["..."]
    elif cut and len(a) > 2 * ends:
        items = [form(v) for v in a[:ends].tolist()] + [" ..."]
        items += [form(v) for v in a[-ends:].tolist()]
    else:
        items = [form(v) for v in a.tolist()]
    lines = [", ".join(items[i : i + per_line]) for i in range(0, len(items), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def nested(a: np.ndarray, indent: int, cut: bool, form: Any, options: Options) -> str:
    """Brackets within brackets, a blank line more between blocks for each dim."""
    if a.ndim == 0:
        return form(a.item())
    if a.ndim == 1:
        return vector(a, indent, cut, form, options)
    ends = options.edgeitems
    left_out = cut and len(a) > 2 * ends
    rows = [*range(ends), *range(len(a) - ends, len(a))] if left_out else range(len(a))
    blocks = [nested(a[i], indent + 1, cut, form, options) for i in rows]
    if left_out:
        blocks.insert(ends, "...")
    return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(blocks) + "]"


def shown(a: np.ndarray, ends: int) -> np.ndarray:
    """The elements that are printed when the middle of every dim is left out."""
    for dim, n in enumerate(a.shape):
        if n > 2 * ends:
            a = np.take(a, [*range(ends), *range(n - ends, n)], dim)
    return a


def contents(a: np.ndarray, indent: int, options: Options) -> str:
    if a.size == 0:
        return "[]"
    if a.dtype.name == "bfloat16":
        a = a.astype(np.float32)
    cut = a.size > options.threshold
    seen = (shown(a, options.edgeitems) if cut else a).reshape(-1)
    form = (ComplexFormatter if a.dtype.kind == "c" else Formatter)(seen, options)
    return nested(a, indent, cut, form, options)


def with_suffixes(text: str, suffixes: list[str], indent: int, linewidth: int) -> str:
    """``text, suffix, ...)``; a suffix that would pass the line's end starts a new one."""
    used = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > linewidth:
            text += ",\n" + " " * indent + suffix
            used = indent + len(suffix)
        else:
            text += ", " + suffix
            used += len(suffix) + 2
    return text + ")"


def tensor_str(t: Tensor) -> str:
    """``tensor([...], device=, size=, dtype=, grad_fn= or requires_grad=)``, each where it says
    something.
    """
    kind = type(t).__name__
    prefix = "tensor(" if kind in ("Tensor", "Parameter") else kind + "("
    suffixes = []
    if t.device.type != "cpu":
        suffixes.append(f"device='{t.device}'")
    if t.ndim != 1 if t.numel() == 0 else not _Current.options.edgeitems:
        suffixes.append(f"size={tuple(t.shape)}")
    default = dtypes.get_default_dtype()
    usual = (default, dtypes.scalar_dtype(1j), dtypes.int64, dtypes.bool_)
    # An empty tensor shows no element that would tell an integer from a float.
    if t.dtype not in usual or (t.numel() == 0 and t.dtype is not default):
        suffixes.append(f"dtype={t.dtype}")
    node = t.grad_fn
    if node is not None:
        suffixes.append(f"grad_fn=<{node.name()}>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    options = _Current.options
    text = prefix + contents(t.host(), len(prefix), options)
    return with_suffixes(text, suffixes, len(prefix), options.linewidth)
