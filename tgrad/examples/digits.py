"""Train a network on handwritten digits with augmentation, and go on from a checkpoint.

The whole loop: batches from a loader, forward, loss, backward, clipping, optimiser, scheduler,
evaluation, and a checkpoint after every epoch from which ``--resume`` continues as if the program
had never stopped. The digits (1,797 of 8 x 8) are installed with tgrad.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

import tgrad
from tgrad import nn
from tgrad.utils.data import DataLoader
from tgrad.vision import transforms as T
from tgrad.vision.datasets import Digits

MEAN, STD = 0.305, 0.376  # of the training images


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m tgrad.examples.digits", description=about[0],
                                     epilog=about[1])  # fmt: skip
    add = parser.add_argument
    add("--epochs", type=int, default=12, help="passes over the images (default %(default)s)")
    add("--batch-size", type=int, default=64, help="default %(default)s")
    add("--lr", type=float, default=5e-3, help="largest learning rate (default %(default)s)")
    add("--clip", type=float, default=1.0, help="largest norm of the gradient (%(default)s)")
    add("--workers", type=int, default=0, help="processes that load (default %(default)s)")
    add("--seed", type=int, default=0, help="default %(default)s")
    add("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    add("--checkpoint", metavar="FILE", help="save here after every epoch")
    add("--resume", action="store_true", help="go on from the checkpoint")
    add("--stop-after", type=int, metavar="N", help="stop after N epochs, to be resumed")
    add("--limit", type=int, metavar="N", help="use only the first N images of each split")
    options = parser.parse_args(argv)
    if options.resume and not options.checkpoint:
        parser.error("--resume needs --checkpoint")
    return options


def loaders(options: argparse.Namespace) -> tuple[DataLoader, DataLoader]:
    """Batches for training, moved and turned a little, and for testing, as they are."""
    plain = [T.ToTensor(), T.Normalize([MEAN], [STD])]
    moved = T.RandomAffine(12, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation="bilinear")
    parts = []
    for train, transforms in ((True, [moved, *plain]), (False, plain)):
        data = Digits(train, T.Compose(transforms))
        if options.limit is not None:
            data.data = data.data[: options.limit]
        parts.append(DataLoader(data, options.batch_size, shuffle=train,
                                num_workers=options.workers))  # fmt: skip
    return parts[0], parts[1]


def network() -> nn.Sequential:
    """Two convolutions with batch normalisation and two linear layers.

    Shape: (N, 1, 8, 8) -> (N, 10).
    """
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class Trainer:
    """A model with what trains it, and what a checkpoint holds of them."""

    def __init__(self, options: argparse.Namespace, steps: int):
        self.options, self.steps = options, max(1, steps)
        self.model = network().to(options.device)
        self.loss_of = nn.CrossEntropyLoss(label_smoothing=0.05)
        self.optimizer = tgrad.optim.AdamW(self.model.parameters(), lr=options.lr)
        self.scheduler = tgrad.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=options.lr, total_steps=self.steps
        )
        self.epoch = 0

    def train(self, batches: DataLoader) -> float:
        """One epoch; the mean loss."""
        from tqdm import tqdm

        self.model.train()
        total, count = 0.0, 0
        with tqdm(batches, desc=f"epoch {self.epoch + 1}", unit="batch", leave=False) as bar:
            for images, labels in bar:
                images, labels = images.to(self.options.device), labels.to(self.options.device)
                self.optimizer.zero_grad()
                loss = self.loss_of(self.model(images), labels)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
                self.optimizer.step()
                self.scheduler.step()
                total, count = total + loss.item() * len(labels), count + len(labels)
                bar.set_postfix(loss=f"{total / count:.3f}", refresh=False)
        self.epoch += 1
        return total / count

    @tgrad.no_grad()
    def evaluate(self, batches: DataLoader) -> float:
        """The share of images that are read right."""
        self.model.eval()
        right, count = 0, 0
        for images, labels in batches:
            read = self.model(images.to(self.options.device)).argmax(1).cpu()
            right, count = right + int((read == labels).sum().item()), count + len(labels)
        return right / count

    def save(self, path: str) -> None:
        """Replace the checkpoint in one step: a crash leaves the old one or the new one whole."""
        parts = {name: getattr(self, name).state_dict()
                 for name in ("model", "optimizer", "scheduler")}  # fmt: skip
        progress = {"epoch": self.epoch, "steps": self.steps, "random": tgrad.get_rng_state()}
        tgrad.save({**parts, **progress}, path)

    def load(self, path: str) -> None:
        """Go on where the checkpoint was made, its random numbers included."""
        state = tgrad.load(path, map_location="cpu")
        if state["steps"] != self.steps:
            raise SystemExit(
                f"{path} is of a run of {state['steps']} steps, not {self.steps}: give the same "
                "--epochs and --batch-size"
            )
        for name in ("model", "optimizer", "scheduler"):
            getattr(self, name).load_state_dict(state[name])
        self.epoch = state["epoch"]
        tgrad.set_rng_state(state["random"])


def main(argv: Sequence[str] | None = None) -> float:
    """Train and tell; returns the share of test digits that are read right."""
    options = parse(argv)
    tgrad.manual_seed(options.seed)
    train, test = loaders(options)
    trainer = Trainer(options, options.epochs * len(train))
    if options.resume:
        trainer.load(options.checkpoint)
        print(f"going on after epoch {trainer.epoch} of {options.epochs}")
    last = options.epochs
    if options.stop_after is not None:
        last = min(last, trainer.epoch + options.stop_after)
    start = time.perf_counter()
    accuracy = trainer.evaluate(test) if trainer.epoch >= last else 0.0
    while trainer.epoch < last:
        loss = trainer.train(train)
        accuracy = trainer.evaluate(test)
        (rate,) = trainer.scheduler.get_last_lr()
        print(f"epoch {trainer.epoch:2}  loss {loss:.3f}  test {accuracy:.1%}  lr {rate:.1e}")
        if options.checkpoint:
            trainer.save(options.checkpoint)
    print(f"{accuracy:.1%} of the test digits read right, {time.perf_counter() - start:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
