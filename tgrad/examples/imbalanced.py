"""Train on classes of very unequal size, and see what weights do for the rare ones.

Of the packaged digits, 0 to 4 are kept and of 5 to 9 a handful each. The same network is trained
three times: as it is; with WeightedRandomSampler, which draws every class equally often; and with
class weights in the loss. The table shows the recall of each digit on test images, where all are
equally frequent.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

import tgrad
from tgrad import nn
from tgrad.datasets import digits
from tgrad.tensor import Tensor
from tgrad.utils.data import (
    DataLoader,
    TensorDataset,
    WeightedRandomSampler,
    class_weights,
    sample_weights,
)

WAYS = ("plain", "sampler", "weights")
RARE = range(5, 10)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m tgrad.examples.imbalanced",
                                     description=about[0], epilog=about[1])  # fmt: skip
    add = parser.add_argument
    add("--rare", type=int, default=6, help="images of each rare digit (default %(default)s)")
    add("--epochs", type=int, default=12, help="passes over the images (default %(default)s)")
    add("--batch-size", type=int, default=32, help="default %(default)s")
    add("--lr", type=float, default=2e-3, help="learning rate (default %(default)s)")
    add("--seed", type=int, default=0, help="default %(default)s")
    return parser.parse_args(argv)


def split(rare: int) -> tuple[TensorDataset, TensorDataset]:
    """Training rows with ``rare`` images of each digit from 5 on, and test rows."""
    images, labels = digits().tensors
    first = len(images) * 3 // 4
    y = labels[:first].numpy()
    kept = [np.flatnonzero(y == k)[: rare if k in RARE else None] for k in range(10)]
    rows = tgrad.from_numpy(np.sort(np.concatenate(kept)))
    train = TensorDataset(images[rows], labels[rows])
    return train, TensorDataset(images[first:], labels[first:])


def fit(way: str, train: TensorDataset, options: argparse.Namespace) -> nn.Module:
    """A network trained in one of the three ways."""
    from tqdm import tqdm

    tgrad.manual_seed(options.seed)
    labels = train.tensors[1]
    sampler = WeightedRandomSampler(sample_weights(labels), len(labels))
    batches = DataLoader(train, options.batch_size, shuffle=way != "sampler",
                         sampler=sampler if way == "sampler" else None)  # fmt: skip
    loss_of = nn.CrossEntropyLoss(weight=class_weights(labels) if way == "weights" else None)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = tgrad.optim.Adam(model.parameters(), lr=options.lr)
    with tqdm(total=options.epochs * len(batches), desc=way, unit="batch", leave=False) as bar:
        for _ in range(options.epochs):
            for x, y in batches:
                optimizer.zero_grad()
                loss = loss_of(model(x), y)
                loss.backward()
                optimizer.step()
                bar.update()
    return model


@tgrad.no_grad()
def recall(model: nn.Module, test: TensorDataset) -> Tensor:
    """The share of each digit's test images that are read right: (10)."""
    images, labels = test.tensors
    right = (model.eval()(images).argmax(1) == labels).to(tgrad.float32)
    counts = tgrad.bincount(labels, minlength=10)
    return tgrad.bincount(labels, right, minlength=10) / counts


def main(argv: Sequence[str] | None = None) -> dict[str, list[float]]:
    """Train three times and show the recalls; returns those of each way."""
    options = parse(argv)
    train, test = split(options.rare)
    counts = tgrad.bincount(train.tensors[1], minlength=10).tolist()
    found = {way: recall(fit(way, train, options), test).tolist() for way in WAYS}
    print(f"{'digit':>8}{'images':>8}" + "".join(f"{way:>10}" for way in WAYS))
    for k in range(10):
        print(f"{k:8}{counts[k]:8}" + "".join(f"{found[way][k]:10.0%}" for way in WAYS))
    for name, which in (("common", range(5)), ("rare", RARE), ("all", range(10))):
        means = [sum(found[way][k] for k in which) / len(which) for way in WAYS]
        print(f"{name:>8}{sum(counts[k] for k in which):8}" + "".join(f"{m:10.0%}" for m in means))
    return found


if __name__ == "__main__":
    main()
