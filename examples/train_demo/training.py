"""What the three trainings share: options, schedule, moving average of the weights, checkpoints, the loop itself.

The length is given in minutes (`--minutes`: the schedule follows the clock and ends then) or in steps (`--steps`:
the same numbers on the same machine and versions, however slow it is).
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes_folder import Augmentation, Batch, Scenes
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

WARM_UP = 0.03  # of the training
FINAL_RATE = 0.02  # of the largest rate
CROPS_UNTIL = 0.7  # of the training; cropped boxes are not quite tight
LARGEST_GRADIENT = 10.0


def arguments(description: str, *, out: str, batch: int, rate: float) -> argparse.ArgumentParser:
    """Return the command line that all three share, each with its own defaults."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--scenes", type=Path, required=True, metavar="DIR", help="training scenes of draw_scenes.py")
    p.add_argument("--choosing", type=Path, metavar="DIR", help="other scenes, on which AP is watched")
    p.add_argument("--out", type=Path, default=Path(out), metavar="FILE", help="the checkpoint, resumed if it exists")
    length = p.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=55.0, help="train so long, checks of AP included")
    length.add_argument("--steps", type=int, help="train so many steps instead, which can be repeated exactly")
    p.add_argument("--batch", type=int, default=batch, help="pictures a step")
    p.add_argument("--rate", type=float, default=rate, help="largest learning rate of AdamW")
    p.add_argument("--decay", type=float, default=0.01, help="weight decay of AdamW")
    p.add_argument("--average", type=float, default=0.998, help="decay of the moving average of the weights")
    p.add_argument("--crop", type=float, default=0.75, help="smallest crop, as a part of a side; 1: none")
    p.add_argument("--colour", type=float, default=0.25, help="strength of the change of colours; 0: none")
    p.add_argument("--check-minutes", type=float, default=6.0, help="between looks at AP, and checkpoints")
    p.add_argument("--check-scenes", type=int, default=200, help="so many of --choosing")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=1)
    return p


def start(options: argparse.Namespace) -> None:
    """Seed everything and set the number of threads."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)


@dataclass
class State:
    """How far a training is."""

    step: int = 0
    seconds: float = 0.0

    def progress(self, options: argparse.Namespace) -> float:
        """Return the part of the training that is done: 0 to 1."""
        done = self.step / options.steps if options.steps else self.seconds / (60 * options.minutes)
        return min(done, 1.0)


def rate_factor(progress: float) -> float:
    """Return the learning rate's part of its largest value: a linear warm-up, then half a cosine."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.01)
    cosine = 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
    return FINAL_RATE + (1 - FINAL_RATE) * cosine


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return a model that follows `model`, batch-norm statistics included; it follows faster at first."""

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        weight = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:  # batch norm's count of batches
            for old, new in zip(averaged, current):
                old.copy_(new)

    return AveragedModel(model, multi_avg_fn=update, use_buffers=True)


def optimizer_of(model: nn.Module, options: argparse.Namespace) -> torch.optim.Optimizer:
    """Return AdamW, with weight decay for the weights of convolutions alone."""
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": options.decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=options.rate, betas=(0.9, 0.99), fused=True)


def train(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    options: argparse.Namespace,
    *,
    check: Callable[[nn.Module], str] | None = None,
    sizes: Sequence[tuple[float, int]] = ((0.0, 256),),
) -> nn.Module:
    """Train a model, or go on where its checkpoint stands.

    Parameters
    ----------
    model : nn.Module
    loss : callable
        From the model, in training mode, and a batch to the loss of the batch, a mean over its pictures.
    options : argparse.Namespace
        Of :func:`arguments`.
    check : callable, optional
        From the averaged model, in evaluation mode, to a line about how good it is.
    sizes : sequence of (progress, size)
        From which part of the training on scenes are brought to which size: small ones first save time.

    Returns
    -------
    nn.Module
        The moving average of the weights, in evaluation mode.
    """
    scenes = Scenes(options.scenes)
    average, optimizer, state = moving_average(model, options.average), optimizer_of(model, options), State()
    if options.out.exists():
        _load(options.out, model, average, optimizer, state)
    last, checked, mean_loss = time.monotonic(), state.seconds, float("nan")
    while (progress := state.progress(options)) < 1:
        size = [size for begin, size in sizes if begin <= progress][-1]
        how = Augmentation(True, options.crop if progress < CROPS_UNTIL else 1.0, options.colour)
        rng = _seed_step(options.seed, state.step)
        batch = scenes.batch(rng.integers(0, len(scenes), options.batch), size, how, rng)
        value = _step(model, loss, batch, optimizer, options.rate * rate_factor(progress))
        average.update_parameters(model)
        mean_loss = value if math.isnan(mean_loss) else 0.98 * mean_loss + 0.02 * value
        now = time.monotonic()
        state.step, state.seconds, last = state.step + 1, state.seconds + now - last, now
        if state.step % 100 == 0:
            _report(state, progress, size, mean_loss)
        if state.seconds - checked > 60 * options.check_minutes:
            _look(average, check)
            _save(options.out, model, average, optimizer, state)
            checked = state.seconds
    _look(average, check)
    _save(options.out, model, average, optimizer, state)
    return average.module.eval()


def _seed_step(seed: int, step: int) -> np.random.Generator:
    """Return the generator of one step, and seed PyTorch's: a training that is resumed goes on as if never stopped."""
    rng = np.random.default_rng((seed, step))
    torch.manual_seed(int(rng.integers(2**62)))
    return rng


def steps_made(path: Path) -> int:
    """Return how many steps a checkpoint has behind it."""
    return int(torch.load(path, weights_only=True)["step"])


def _step(
    model: nn.Module,
    loss: Callable[[nn.Module, Batch], Tensor],
    batch: Batch,
    optimizer: torch.optim.Optimizer,
    rate: float,
) -> float:
    """Move the weights once; a step whose gradient is no number is left out."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    value = loss(model, batch)
    value.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
    if torch.isfinite(norm):
        optimizer.step()
    return float(value.detach())


def _report(state: State, progress: float, size: int, mean_loss: float) -> None:
    speed = state.step / state.seconds
    print(
        f"{state.seconds / 60:6.1f} min  {progress:6.1%}  step {state.step:6d}  {size} px  "
        f"{speed:5.2f} steps/s  loss {mean_loss:.4f}",
        flush=True,
    )


def _look(average: AveragedModel, check: Callable[[nn.Module], str] | None) -> None:
    if check is not None:
        with torch.no_grad():
            print(f"            {check(average.module.eval())}", flush=True)


def _save(path: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "model": model.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
    }
    temporary = path.with_suffix(".part")
    torch.save(content, temporary)
    os.replace(temporary, path)


def _load(path: Path, model: nn.Module, average: AveragedModel, optimizer: torch.optim.Optimizer, state: State) -> None:
    """Read a checkpoint."""
    try:
        content = torch.load(path, weights_only=True)
        model.load_state_dict(content["model"])
        average.load_state_dict(content["average"])
        optimizer.load_state_dict(content["optimizer"])
        state.step, state.seconds = content["step"], content["seconds"]
    except (EOFError, KeyError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError):
        raise SystemExit(f"{path}: expected a checkpoint of this training, found something else") from None
    print(f"{path}: going on after step {state.step}, {state.seconds / 60:.1f} minutes", flush=True)
