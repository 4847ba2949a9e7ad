"""Train a character-level LSTM on a text, and let it write.

The network reads a text letter by letter and learns which one comes next; what it then writes,
letter by letter from its own guesses, looks more and more like the text. Without a file it reads
eight of Shakespeare's sonnets (1609, in the public domain), which are installed with tgrad. A
checkpoint holds weights, optimiser, alphabet and random state: --resume continues as if the program
had never stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tgrad
from tgrad import nn

SONNETS = Path(__file__).parents[1] / "data" / "sonnets.txt"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m tgrad.examples.char_lstm",
                                     description=about[0], epilog=about[1])  # fmt: skip
    add = parser.add_argument
    add("--text", metavar="FILE", help="a text in UTF-8 (default: the sonnets)")
    add("--steps", type=int, default=400, help="steps of training in all (default %(default)s)")
    add("--batch-size", type=int, default=32, help="passages a step (default %(default)s)")
    add("--length", type=int, default=64, help="letters of a passage (default %(default)s)")
    add("--hidden", type=int, default=128, help="units of a layer (default %(default)s)")
    add("--layers", type=int, default=2, help="default %(default)s")
    add("--dropout", type=float, default=0.1, help="between layers (default %(default)s)")
    add("--lr", type=float, default=5e-3, help="learning rate (default %(default)s)")
    add("--clip", type=float, default=1.0, help="largest norm of the gradient (%(default)s)")
    add("--seed", type=int, default=0, help="default %(default)s")
    add("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    add("--checkpoint", metavar="FILE", help="save here, every 100 steps and at the end")
    add("--resume", action="store_true", help="go on from the checkpoint")
    add("--stop-after", type=int, metavar="N", help="stop after N steps, to be resumed")
    add("--sample", type=int, default=300, help="letters to write at the end (%(default)s)")
    add("--temperature", type=float, default=0.7, help="of their choice: 0 takes the likeliest "
        "(default %(default)s)")  # fmt: skip
    add("--prompt", default="\n", help="what the writing begins with (default: a new line)")
    options = parser.parse_args(argv)
    if options.resume and not options.checkpoint:
        parser.error("--resume needs --checkpoint")
    return options


class CharLSTM(nn.Module):
    """Letters (L, N) to scores of the letters that follow (L, N, alphabet), and the state."""

    def __init__(self, letters: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.embedding = nn.Embedding(letters, hidden // 2)
        self.lstm = nn.LSTM(hidden // 2, hidden, layers, dropout=dropout if layers > 1 else 0.0)
        self.head = nn.Linear(hidden, letters)

    def forward(self, letters: tgrad.Tensor, state: Any = None) -> tuple[tgrad.Tensor, Any]:
        y, state = self.lstm(self.embedding(letters), state)
        return self.head(y), state


class Trainer:
    """A model with what trains it, and what a checkpoint holds of them."""

    def __init__(self, options: argparse.Namespace, text: str):
        self.options = options
        self.alphabet = sorted(set(text))
        places = {letter: k for k, letter in enumerate(self.alphabet)}
        self.text = tgrad.tensor([places[letter] for letter in text])
        self.model = CharLSTM(
            len(self.alphabet), options.hidden, options.layers, options.dropout
        ).to(options.device)
        self.optimizer = tgrad.optim.Adam(self.model.parameters(), lr=options.lr)
        self.loss_of = nn.CrossEntropyLoss()
        self.step = 0

    def passages(self) -> tgrad.Tensor:
        """Random passages of the text, (length + 1, N)."""
        length = self.options.length
        starts = tgrad.randint(0, len(self.text) - length, (self.options.batch_size,))
        at = starts + tgrad.arange(length + 1).unsqueeze(1)
        return self.text[at].to(self.options.device)

    def train_step(self) -> float:
        """One step on passages; the loss in nats a letter."""
        letters = self.passages()
        self.model.train()
        self.optimizer.zero_grad()
        scores, _ = self.model(letters[:-1])
        loss = self.loss_of(scores.flatten(0, 1), letters[1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    @tgrad.no_grad()
    def write(self, prompt: str, count: int, temperature: float) -> str:
        """``prompt`` and ``count`` letters more, each drawn from what the model expects."""
        self.model.eval()
        places = {letter: k for k, letter in enumerate(self.alphabet)}
        unknown = sorted({letter for letter in prompt if letter not in places})
        if unknown or not prompt:
            raise SystemExit(f"the prompt must have letters of the text alone, not {unknown}")
        letters = tgrad.tensor([[places[letter]] for letter in prompt]).to(self.options.device)
        written, state = list(prompt), None
        for _ in range(count):
            scores, state = self.model(letters, state)
            last = scores[-1, 0].cpu()
            if temperature > 0:
                chosen = int(tgrad.multinomial((last / temperature).softmax(0), 1).item())
            else:
                chosen = int(last.argmax().item())
            written.append(self.alphabet[chosen])
            letters = tgrad.tensor([[chosen]]).to(self.options.device)
        return "".join(written)

    def save(self, path: str) -> None:
        """Replace the checkpoint in one step: a crash leaves the old one or the new one whole."""
        tgrad.save({
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "alphabet": "".join(self.alphabet), "step": self.step, "random": tgrad.get_rng_state(),
        }, path)  # fmt: skip

    def load(self, path: str) -> None:
        """Go on where the checkpoint was made, its random numbers included."""
        state = tgrad.load(path, map_location="cpu")
        if state["alphabet"] != "".join(self.alphabet):
            raise SystemExit(f"{path} is of a text with other letters: give the same --text")
        shapes = {k: v.shape for k, v in self.model.state_dict().items()}
        if shapes != {k: v.shape for k, v in state["model"].items()}:
            raise SystemExit(f"{path} is of another model: give the same --hidden and --layers")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        tgrad.set_rng_state(state["random"])


def read(options: argparse.Namespace) -> str:
    path = Path(options.text) if options.text else SONNETS
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"cannot read {path}: {error}") from None
    if len(text) < options.length + 2:
        raise SystemExit(
            f"{path} has {len(text)} letters, too few for passages of {options.length}"
        )
    return text


def main(argv: Sequence[str] | None = None) -> float:
    """Train, write and tell; returns the mean loss of the last 20 steps, in nats a letter."""
    from tqdm import tqdm

    options = parse(argv)
    tgrad.manual_seed(options.seed)
    trainer = Trainer(options, read(options))
    if options.resume:
        trainer.load(options.checkpoint)
        print(f"going on after step {trainer.step} of {options.steps}")
    last = options.steps
    if options.stop_after is not None:
        last = min(last, trainer.step + options.stop_after)
    start, losses = time.perf_counter(), []
    with tqdm(total=last, initial=trainer.step, unit="step", leave=False) as bar:
        while trainer.step < last:
            losses = [*losses[-19:], trainer.train_step()]
            bar.update()
            bar.set_postfix(loss=f"{sum(losses) / len(losses):.3f}", refresh=False)
            if options.checkpoint and (trainer.step % 100 == 0 or trainer.step == last):
                trainer.save(options.checkpoint)
    loss = sum(losses) / len(losses) if losses else float("nan")
    if losses:
        seconds = time.perf_counter() - start
        print(f"step {trainer.step}  loss {loss:.3f} nats a letter  {seconds:.1f} s")
    if options.sample > 0:
        print(trainer.write(options.prompt, options.sample, options.temperature))
    return loss


if __name__ == "__main__":
    main()
