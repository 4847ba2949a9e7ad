"""Replayed op calls pass the very parameters that calls made in full pass: every row's op."""

from __future__ import annotations

import functools
from typing import Any

from tests.fake_driver import on_fake_driver
from tests.replays import Watch, counted_replays, start


def call_of(row: Any, sample: Any, dtype: str, layout: str) -> Any:
    """A function that calls the row's op and its gradient on tensors made now."""
    import tgrad
    from tests.table import leaves, outputs, tensors

    made = tensors(row, sample, "cuda", dtype, layout, row.grad)
    xs = leaves(made)

    def call() -> None:
        y = row.function()(*made.args, **made.kwargs)
        roots = [o for o in outputs(y) if isinstance(o, tgrad.Tensor) and o.requires_grad]
        if roots and xs:
            gs = [tgrad.ones_like(o) for o in roots]
            tgrad.autograd.grad(roots, xs, gs, allow_unused=True)

    return call


def compared(watch: Watch, make: Any) -> str:
    """ "same" where a replay launches what the full call does; "unsteady" where two full calls
    differ, since they go by values that nobody computed."""
    from tgrad.runtime import plan

    plan.enable(False)
    call = make()
    try:
        full, again = watch.launches(call), watch.launches(call)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError, Warning):
        return "unsteady"
    if full != again:
        return "unsteady"
    plan.enable(True)
    other = make()
    other()
    other()
    replayed = watch.launches(call)
    assert replayed == full, (
        "\n".join(f"{a}\n{b}" for a, b in zip(full, replayed, strict=False) if a != b)
        or f"{len(full)} launches in full, {len(replayed)} replayed"
    )
    return "same"


@on_fake_driver(eager=1, memory=1 << 36)
def test_replays_launch_what_full_calls_launch():
    _, fake = start()
    from tests.table import all_rows

    watch, results = Watch(fake), []
    count = counted_replays()
    for row in all_rows():
        for k, sample in enumerate(row.samples):
            layout = ("contiguous", "strided")[k % 2]
            dtype = row.dtypes[0] if row.dtypes else "float64"
            results.append(compared(watch, functools.partial(call_of, row, sample, dtype, layout)))
    # The rest have shapes that come out of a kernel, or are computed on the host.
    assert results.count("same") > 0.9 * len(results) and count[0] > len(results)
