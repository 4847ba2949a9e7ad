"""Train a convolutional network on 1,797 handwritten digits.

A fifth of the images is held out; the last line tells how many of those are read right.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from tqdm import tqdm

from tgrad import nn, random
from tgrad.autograd import no_grad
from tgrad.commands import Failure
from tgrad.creation import randperm
from tgrad.datasets import digits
from tgrad.device import device as Device
from tgrad.optim import Adam
from tgrad.runtime import cuda
from tgrad.tensor import Tensor
from tgrad.utils.data import DataLoader, TensorDataset

NAME = "demo"
BATCH, EPOCHS, LR = 64, 12, 5e-3
EMULATED_BATCH = 8  # the interpreter takes about 0.1 s a program
WARM_UP = 20  # steps over which the learning rate rises; it then falls linearly to 0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Device, length, seed and plot."""
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), help="default: cuda where there is a GPU, else cpu"
    )
    parser.add_argument(
        "--epochs",
        type=positive,
        default=EPOCHS,
        help="passes over the training images (default %(default)s)",
    )
    parser.add_argument("--steps", type=positive, help="stop after this many batches")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the loss and the wrongly read digits (needs matplotlib)",
    )


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {value}")
    return value


def network(width: int = 24) -> nn.Sequential:
    """Three 3 x 3 convolutions, two poolings and one linear layer: 56,410 parameters at width 24.

    Shape: (N, 1, 8, 8) -> (N, 10).
    """
    a, b, c = width, 2 * width, 4 * width
    return nn.Sequential(
        nn.Conv2d(1, a, 3, padding=1), nn.BatchNorm2d(a), nn.ReLU(),
        nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Conv2d(b, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.25),
        nn.Linear(4 * c, 10),
    )  # fmt: skip


def rate(step: int, steps: int) -> float:
    """The learning rate of a step: a short rise, then a straight line to 0."""
    return LR * min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)


def run(options: argparse.Namespace) -> None:
    if options.plot:
        plotting()
    where = device_of(options.device)
    random.manual_seed(options.seed)
    images, labels = digits().tensors
    order = randperm(len(images), device="cpu")
    n = len(images) // 5
    emulated = where.type == "cuda" and cuda.is_emulated()
    held, kept = order[: 32 if emulated else n], order[n:]
    rows = TensorDataset(images[kept], labels[kept])
    loader = DataLoader(rows, EMULATED_BATCH if emulated else BATCH, shuffle=True)
    model = network(8 if emulated else 24).to(where)
    steps = options.epochs * len(loader)
    if options.steps is not None:
        steps = min(steps, options.steps)
    start = time.perf_counter()
    losses = train(model, loader, where, steps)
    seconds = time.perf_counter() - start
    predicted = predict(model, images[held], where)
    right = predicted == labels[held].numpy()
    if options.plot:
        plot(options.plot, losses, images[held].numpy(), labels[held].numpy(), predicted)
    print(
        f"{right.mean():.1%} of {len(held)} held-out digits read right after {steps} steps in "
        f"{seconds:.1f} s on {where}{' (emulated, a smaller network)' if emulated else ''}, "
        f"seed {options.seed}"
    )


def device_of(name: str | None) -> Device:
    """The device to train on. Raises Failure where there is no GPU."""
    if name is None:
        usable = cuda.is_available() and not cuda.is_emulated()
        return Device("cuda" if usable else "cpu")
    if name == "cuda":
        try:
            cuda.active()
        except (ImportError, RuntimeError) as e:
            raise Failure(str(e)) from None
    return Device(name)


def train(model: nn.Module, loader: DataLoader, where: Device, steps: int) -> list[float]:
    """Adam on the cross-entropy for ``steps`` batches; the loss of each."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = Adam(model.parameters(), lr=LR, weight_decay=1e-4)
    losses: list[float] = []
    right = 0.0
    model.train()
    with tqdm(total=steps, unit="step") as bar:
        while len(losses) < steps:
            for x, target in loader:
                optimizer.param_groups[0]["lr"] = rate(len(losses), steps)
                x, target = x.to(where), target.to(where)
                scores = model(x)
                loss = loss_of(scores, target)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                losses.append(float(loss.item()))
                hits = float((scores.argmax(1) == target).sum().item()) / len(target)
                right = hits if len(losses) == 1 else 0.9 * right + 0.1 * hits
                bar.set_postfix(loss=f"{losses[-1]:.3f}", accuracy=f"{right:.1%}", refresh=False)
                bar.update()
                if len(losses) == steps:
                    break
    return losses


def predict(model: nn.Module, images: Tensor, where: Device) -> np.ndarray:
    """The digit that each image is read as."""
    model.eval()
    with no_grad():
        parts = [model(x.to(where)).argmax(1).cpu().numpy() for x in images.split(128)]
    return np.concatenate(parts)


def plotting() -> Any:
    """``matplotlib.pyplot`` for files, without a screen. Raises Failure where it is missing."""
    try:
        import matplotlib
    except ImportError:
        raise Failure("--plot needs matplotlib: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def plot(
    path: str, losses: list[float], images: np.ndarray, labels: np.ndarray, predicted: np.ndarray
) -> None:
    """Draw the training loss and up to 15 digits that were read wrongly."""
    pyplot = plotting()
    wrong = np.flatnonzero(labels != predicted)
    figure = pyplot.figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(3, 2))
    axes = left.subplots()
    axes.plot(losses, color="0.75", linewidth=1, label="each batch")
    if len(losses) >= 10:
        window = max(5, len(losses) // 20)
        smooth = np.convolve(losses, np.ones(window) / window, "valid")
        axes.plot(np.arange(len(smooth)) + window // 2, smooth, color="C0",
                  label=f"mean of {window}")  # fmt: skip
    axes.set(xlabel="step", ylabel="cross-entropy", yscale="log", title="Training loss")
    axes.legend(frameon=False)
    right.suptitle(f"Read wrongly: {len(wrong)} of {len(labels)} held-out digits")
    grid = right.subplots(3, 5, squeeze=False)
    for axes, i in zip(grid.flat, [*wrong[:15], *[None] * 15], strict=False):
        axes.set_axis_off()
        if i is not None:
            axes.imshow(images[i, 0], cmap="gray_r")
            axes.set_title(f"{labels[i]} as {predicted[i]}", fontsize=9)
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as e:
        raise Failure(f"cannot write the plot: {e}") from None
    finally:
        pyplot.close(figure)
