"""The training loop."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dyn2trt.blocks import gated_blocks, set_execution
from dyn2trt.checkpoint import load_checkpoint
from dyn2trt.errors import Dyn2trtError
from dyn2trt.files import replacing, sha256, write_text
from dyn2trt.gates import record_decisions, set_gumbel
from dyn2trt.macs import MacReport, count_macs
from dyn2trt.recipe import Recipe, TrainSection
from dyn2trt.tasks.task import Outputs, Task, make_task
from dyn2trt.train import saved
from dyn2trt.train.batches import GlobalBatches, evaluation_loader, training_loader
from dyn2trt.train.batchnorm import share_batchnorm
from dyn2trt.train.card import card, commands_before
from dyn2trt.train.criterion import make_criterion
from dyn2trt.train.divergence import DivergenceGuard
from dyn2trt.train.evaluate import Evaluation, evaluate
from dyn2trt.train.heat_maps import heat_map_sheet, sample_images
from dyn2trt.train.logs import EpochLog, TensorBoardLog
from dyn2trt.train.outcome import Outcome, result_of
from dyn2trt.train.precision import autocast, keep_gates_in_fp32, make_scaler
from dyn2trt.train.processes import Process, summed, wait_for_all
from dyn2trt.train.schedule import moment
from dyn2trt.train.start import load_start, open_gates, seeded_network

_NO_EFFECT_ON_WEIGHTS = {"data", "workers", "pictures"}
_DEFAULTS = {name: field.default for name, field in TrainSection.model_fields.items() if not field.is_required()}


Listener = Callable[[str, dict[str, float]], None]
"""Hears ("step", {epoch, step, steps, loss}) and ("epoch", the row of the log)."""


def train_recipe(
    recipe: Recipe,
    output: Path,
    process: Process,
    *,
    restart: bool = False,
    tensorboard: bool = False,
    command: str = "",
    listener: Listener = lambda kind, values: None,
) -> Outcome:
    """Train what a recipe describes, going on where an earlier call stopped, and evaluate the best weights.

    Writes into ``output``: ``last.pth`` after every epoch, ``best.pth``, ``train.csv``, ``pictures/`` and at the end
    ``result.json`` and ``card.md``.

    Args:
        recipe: with a ``[train]`` section.
        process: this process, from `dyn2trt.train.processes.joined`.
        restart: begin again although ``output`` holds an unfinished or finished training.
        command: what was typed, for the card.
        listener: told of every step and epoch, in the process that writes.

    Raises:
        Dyn2trtError: the recipe has no ``[train]``, its data is missing, ``output`` belongs to another training, the
            loss is NaN or diverges.
    """
    if recipe.train is None:
        raise Dyn2trtError("the recipe has no [train] section; export/digits.toml has one to copy")
    trainer = _Trainer(recipe, recipe.train, output, process, listener)
    with ExitStack() as stack:
        trainer.begin(restart)
        board = None
        if tensorboard and process.writes:
            board = TensorBoardLog(output / "tensorboard", trainer.progress.epochs + 1)
            stack.callback(board.close)
        trainer.run(board)
    return trainer.finish(command)


class _Trainer:
    def __init__(
        self, recipe: Recipe, settings: TrainSection, output: Path, process: Process, listener: Listener
    ) -> None:
        self.recipe, self.settings, self.output = recipe, settings, output
        self.process, self.listener = process, listener
        self.device = process.device
        self.task: Task = make_task(settings, recipe.export.input_shape)
        self.network = seeded_network(recipe.network.name, recipe.network.options, settings.seed)
        self.report: MacReport = count_macs(self.network, recipe.export.input_shape)
        with torch.no_grad():
            self.task.check(self.network.eval()(torch.zeros(1, *recipe.export.input_shape[1:])))
        if settings.start is not None:
            load_start(self.network, settings.start)
        self.criterion = make_criterion(settings, self.network, self.report)
        if self.criterion is None:
            set_execution(self.network, "dense")
            open_gates(self.network)  # so that the checkpoint means the same to whoever runs its gates
            for _, block in gated_blocks(self.network):
                assert block.masker is not None
                block.masker.requires_grad_(False)
        set_gumbel(self.network, temperature=settings.temperature)
        keep_gates_in_fp32(self.network)
        self.network.to(self.device)
        self.wrapped: nn.Module = self.network
        if process.count > 1:
            share_batchnorm(self.network)
            ids = [self.device.index] if self.device.type == "cuda" else None
            self.wrapped = DistributedDataParallel(self.network, device_ids=ids, broadcast_buffers=False)
        self.optimizer = _optimizer(self.network, settings)
        self.scaler = make_scaler(self.device, settings.precision)
        self.batches = GlobalBatches(len(self.task.train), settings.batch_size, settings.seed, process)
        self.guard = DivergenceGuard()
        self.progress = saved.Progress()

    def begin(self, restart: bool) -> None:
        """Load the last checkpoint, where there is one to go on from."""
        last = self.output / saved.LAST
        wait_for_all()  # nobody may write before all have looked
        if last.exists() and not restart:
            settings = self._identity()
            self.progress = saved.resume(last, self.network, self.optimizer, self.scaler, settings, _DEFAULTS)
            self.guard = DivergenceGuard(reference=self.progress.reference_loss)

    def run(self, board: TensorBoardLog | None) -> None:
        """Train the epochs that are left."""
        first = self.progress.epochs
        log = EpochLog(self.output / "train.csv", first + 1) if self.process.writes else None
        loader = training_loader(self.task.train, self.batches, self.settings.workers, self.device)
        for epoch in range(first, self.settings.epochs):
            began = time.perf_counter()
            row: dict[str, float] = {"epoch": epoch + 1, **self._train_epoch(epoch, loader)}
            validation = self._evaluate("validation")
            row |= {f"validation_{name}": value for name, value in validation.scores.items()}
            row["validation_loss"] = validation.loss
            if self.report.blocks:
                row["validation_executed"] = validation.executed
            row["validation_macs"] = validation.macs
            self._keep(epoch, validation, time.perf_counter() - began)
            if log is not None:
                row["seconds"] = self.progress.seconds
                log.add(row)
                self.listener("epoch", row)
                if board is not None:
                    board.add(row)
                self._picture(epoch, board)

    def finish(self, command: str) -> Outcome:
        """Evaluate the best weights and write the result."""
        wait_for_all()
        weights = self.output / saved.BEST
        load_checkpoint(self.network, weights)
        validation = self._evaluate("validation")
        test = self._evaluate("test") if self.task.test is not None else None
        outcome = Outcome(weights, self.progress.epochs, self.progress.seconds, validation, test)
        if self.process.writes:
            result = result_of(outcome, self._identity(), self.network, self.report)
            write_text(self.output / "result.json", json.dumps(result, indent=1) + "\n")
            commands = commands_before(self.settings.start) + (command or "trained by a program")
            text = card(result, weights, about=self.task.about, commands=commands)
            write_text(self.output / "card.md", text)
        return outcome

    def _train_epoch(self, epoch: int, loader: Any) -> dict[str, float]:
        """One epoch; returns the means of the loss's terms over its steps and all processes."""
        settings, steps = self.settings, len(self.batches)
        # All that is random in an epoch follows from here, so a resumed run repeats it exactly.
        torch.manual_seed((settings.seed * 1_000_003 + epoch) * 4099 + self.process.rank)
        self.task.train.set_epoch(epoch)
        self.batches.set_epoch(epoch)
        self.wrapped.train()
        sums: dict[str, Tensor] = {}
        rate = 0.0
        for step, (images, target) in enumerate(loader):
            now = moment(settings, epoch, step, steps)
            rate = now.learning_rate
            set_gumbel(self.network, noise=now.noise)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            terms = self._step(images, target, now.progress)
            loss = terms["loss_task"].item()
            self.guard.watch(loss, epoch=epoch, step=step, learning_rate=rate)
            sums = {name: sums.get(name, 0) + value for name, value in terms.items()}
            if self.process.writes:
                self.listener("step", {"epoch": epoch, "step": step, "steps": steps, "loss": loss})
        means = summed(torch.stack(list(sums.values()))).cpu() / (steps * self.process.count)
        return {"learning_rate": rate, **dict(zip(sums, means.tolist(), strict=True))}

    def _step(self, images: Tensor, target: dict[str, Tensor], progress: float) -> dict[str, Tensor]:
        """One update; returns the loss's terms and any executed fraction, by column of the log, float64 scalars."""
        images = images.to(self.device, non_blocking=True)
        target = {name: value.to(self.device, non_blocking=True) for name, value in target.items()}
        with record_decisions(self.network) as decisions, autocast(self.device, self.settings.precision):
            outputs = self.wrapped(images)
        task_loss = self.task.loss(outputs, target)
        if self.guard.blind == 0:
            self.guard.blind = self.task.loss(_zeros_like(outputs), target).item()
        values = {"loss_task": task_loss.detach().double()}
        total = task_loss
        if self.criterion is not None:
            terms = self.criterion(decisions, progress)
            total = task_loss + self.criterion.weight * terms.total.to(task_loss.dtype)
            values |= {name: value.detach() for name, value in terms.logged().items()}
        elif self.report.blocks:
            values["executed"] = torch.ones_like(values["loss_task"])
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return values

    def _keep(self, epoch: int, validation: Evaluation, seconds: float) -> None:
        """Save the epoch, and its weights as the best where they are."""
        score = next(iter(validation.scores.values()))
        final = not moment(self.settings, epoch, 0, 1).noise or epoch == self.settings.epochs - 1
        best = self.progress.best
        better = final and (best is None or score > best)
        self.progress = replace(
            self.progress,
            epochs=epoch + 1,
            best=score if better else best,
            reference_loss=self.guard.reference,
            seconds=self.progress.seconds + seconds,
        )
        if self.process.writes:
            # The best first: were it the other way round, a kill between the two would lose it.
            if better:
                saved.save_weights(self.output / saved.BEST, self.network)
            last = self.output / saved.LAST
            saved.save(last, self.network, self.optimizer, self.scaler, self.progress, self._identity())

    def _evaluate(self, part: str) -> Evaluation:
        data = self.task.validation if part == "validation" else self.task.test
        assert data is not None
        batch = max(1, self.settings.batch_size // self.process.count)
        loader = evaluation_loader(data, batch, self.process, self.settings.workers)
        return evaluate(self.network, self.task, loader, self.report, self.process, self.settings.precision)

    def _picture(self, epoch: int, board: TensorBoardLog | None) -> None:
        every, last = self.settings.pictures, epoch + 1 == self.settings.epochs
        if self.criterion is None or every == 0 or ((epoch + 1) % every and not last):
            return
        sheet = heat_map_sheet(self.network, sample_images(self.task.validation), self.task)
        with replacing(self.output / "pictures" / f"epoch_{epoch + 1:03d}.png") as temporary:
            Image.fromarray(sheet).save(temporary)
        if board is not None:
            board.add_picture("heat maps", sheet, epoch + 1)

    def _identity(self) -> dict[str, Any]:
        """The settings that weights depend on."""
        train = self.settings.model_dump(mode="json", exclude=_NO_EFFECT_ON_WEIGHTS)
        if self.settings.start is not None:
            train["start"] = sha256(self.settings.start)
        return {
            **train,
            "network": self.recipe.network.name,
            "options": dict(self.recipe.network.options),
            "input_shape": list(self.recipe.export.input_shape[1:]),
            "processes": self.process.count,
        }


def _zeros_like(outputs: Outputs) -> Outputs:
    if isinstance(outputs, Tensor):
        return torch.zeros_like(outputs)
    return tuple(torch.zeros_like(output) for output in outputs)


def _optimizer(network: nn.Module, settings: TrainSection) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    return torch.optim.SGD(
        parameters, settings.learning_rate, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
