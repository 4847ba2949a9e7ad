"""Ops over more than 2^31 elements: where offsets need 64 bits, and what lies past that.

    python benchmarks/huge.py [--small] [--out FILE]

Checked at the ends and around 2^31. A case that the GPU has no memory for is skipped and named.
"""

from __future__ import annotations

import argparse
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tgrad

PAST = 17  # elements past 2^31


def edges(n: int) -> list[int]:
    half = min(1 << 31, n // 2)
    return [0, 1, half - 1, half, half + 1, n - 2, n - 1]


def marked(n: int, dtype: Any) -> tuple[Any, list[int]]:
    """Zeros with different numbers at the edges."""
    x = tgrad.zeros(n, dtype=dtype, device="cuda")
    at = edges(n)
    for value, i in enumerate(at, 1):
        x[i : i + 1].fill_(value)
    return x, at


def read(x: Any, at: list[int]) -> list[float]:
    return [x[i : i + 1].float().item() for i in at]


def expect(got: Any, want: Any) -> None:
    if got != want:
        raise AssertionError(f"got {got}, expected {want}")


def pointwise(n: int) -> None:
    x, at = marked(n, tgrad.uint8)
    expect(read(x + 3, at), [v + 3.0 for v in range(1, 8)])


def pointwise_strided(n: int) -> None:
    x, _ = marked(n, tgrad.uint8)
    y = x[1::2] + x[: n - 1 : 2]
    expect(y[0:1].item(), 3)
    expect(y.sum().item(), x[: n - n % 2].sum().item())


def total(n: int) -> None:
    x, _ = marked(n, tgrad.uint8)
    expect(x.sum().item(), 28)
    expect(x.argmax().item(), n - 1)


def rows(n: int) -> None:
    """Softmax of rows of one large element each, in the last row past 2^31."""
    width = 4096
    height = n // width + 1
    x = tgrad.zeros(height, width, dtype=tgrad.bfloat16, device="cuda")
    x[-1, -1] = 40.0
    y = tgrad.softmax(x, 1)
    expect(round(y[-1, -1].float().item(), 3), 1.0)
    expect(round(y[0, 0].float().item() * width, 2), 1.0)


def columns(n: int) -> None:
    width = 1024
    x = tgrad.zeros(n // width + 1, width, dtype=tgrad.bfloat16, device="cuda")
    x[-1] = 2.0
    expect(x.sum(0).float().sum().item(), 2.0 * width)


def gathered(n: int) -> None:
    x, at = marked(n, tgrad.uint8)
    index = tgrad.tensor(at, device="cuda")
    expect(tgrad.index_select(x, 0, index).tolist(), list(range(1, 8)))
    expect(x[index].tolist(), list(range(1, 8)))


def copied(n: int) -> None:
    x, at = marked(n, tgrad.uint8)
    expect(read(x.clone(), at), [float(v) for v in range(1, 8)])
    expect(read(tgrad.cat([x[:7], x[7:]]), at), [float(v) for v in range(1, 8)])
    expect(read(x.flip(0), [n - 1 - i for i in at]), [float(v) for v in range(1, 8)])


def product(n: int) -> None:
    """A matrix with more than 2^31 elements times ones."""
    k = 4096
    x = tgrad.zeros(n // k + 1, k, dtype=tgrad.bfloat16, device="cuda")
    x[-1, -1] = 3.0
    y = x @ tgrad.ones(k, 16, dtype=tgrad.bfloat16, device="cuda")
    expect(y[-1, -1].float().item(), 3.0)
    expect(y[0, 0].float().item(), 0.0)


def running(n: int) -> None:
    x, at = marked(n, tgrad.uint8)
    y = x.cumsum(0, dtype=tgrad.uint8)
    expect(read(y, at), [1.0, 3.0, 6.0, 10.0, 15.0, 21.0, 28.0])


CASES: list[Callable[[int], None]] = [
    pointwise, pointwise_strided, total, rows, columns, gathered, copied, product, running,
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--small", action="store_true", help="small sizes, for the emulator")
    parser.add_argument("--out", help="write the rows as JSON to this file")
    args = parser.parse_args()
    n = 10_007 if args.small else (1 << 31) + PAST
    found = []
    for case in CASES:
        row: dict[str, Any] = {"case": case.__name__, "elements": n}
        start = time.perf_counter()
        try:
            case(n)
        except tgrad.cuda.OutOfMemoryError as e:
            row["skipped"] = str(e)
        except Exception as e:  # the other cases may still tell something
            row["error"] = f"{type(e).__name__}: {e}"[:400]
            row["traceback"] = traceback.format_exc()[-1500:]
        row["seconds"] = round(time.perf_counter() - start, 2)
        found.append(row)
        print(row["case"], row.get("error", row.get("skipped", "right")), f"{row['seconds']} s")
        tgrad.cuda.empty_cache()
        if args.out:
            Path(args.out).write_text(json.dumps({"rows": found}))


if __name__ == "__main__":
    main()
