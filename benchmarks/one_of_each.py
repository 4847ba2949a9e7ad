"""One small call of every op, forward and backward, on ``cuda``: for compute-sanitizer to look at.

compute-sanitizer --tool memcheck python benchmarks/one_of_each.py [--seconds S]
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import tgrad
from tests.table import all_rows, leaves, outputs, tensors


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no call after that")
    end = time.monotonic() + parser.parse_args().seconds
    warnings.simplefilter("ignore")
    ran = 0
    for row in all_rows():
        if time.monotonic() > end:
            print("out of time before", row.name)
            break
        for sample in row.samples[:1]:
            made = tensors(
                row, sample, "cuda", "float32" if row.dtypes else "float64", grad=row.grad
            )
            ys = outputs(row.function()(*made.args, **made.kwargs))
            ends = [y for y in ys if isinstance(y, tgrad.Tensor) and y.requires_grad]
            if ends:
                seeds = [tgrad.ones_like(y) for y in ends]
                tgrad.autograd.grad(ends, leaves(made), seeds, allow_unused=True)
            ran += 1
    tgrad.cuda.synchronize()
    print(f"{ran} ops ran")


if __name__ == "__main__":
    main()
