"""The training loop of SDSeg."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import Cancelled, UserError
from engine.evaluation.metrics import dice
from engine.sdseg.network import SDSegNetwork
from engine.sdseg.vision import TrunkVisionEncoder
from engine.training.augment import augment
from engine.training.checkpoint import (
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from engine.training.dataset import SliceDataset
from engine.training.ema import Ema
from engine.training.losses import decoded_logits, mask_loss, mask_picture, noise_and_latent_loss
from engine.training.options import TrainOptions
from engine.training.randomness import batch_indices, step_generator

CURVES = "curves.csv"
COLUMNS = ("step", "cpu_minutes", "loss", "noise", "latent", "mask", "pyramid", "val_dice")


@dataclass(frozen=True)
class Progress:
    """What a run reports after each step."""

    step: int
    steps: int
    losses: dict[str, float]
    val_dice: float | None


class Trainer:
    """Trains vision encoder and U-Net; the autoencoder stays as it is.

    Attributes:
        step: number of finished updates.
        cpu_seconds: processor time of earlier parts of a resumed run.
        remember: facts of the run that every checkpoint carries in its JSON.
    """

    def __init__(
        self,
        network: SDSegNetwork,
        train: SliceDataset,
        val: SliceDataset,
        options: TrainOptions,
        device: torch.device,
        remember: Mapping[str, Any] | None = None,
    ) -> None:
        self.network = network
        self.remember = dict(remember or {})
        self.train_data = train
        self.val_data = val
        self.options = options
        self.device = device
        self.pyramid_head = self._make_pyramid_head()
        self.optimiser = self._make_optimiser()
        self.ema = Ema(self._averaged(), options.optimisation.ema_decay)
        self.step = 0
        self.cpu_seconds = 0.0
        self._started = time.process_time()

    @property
    def cpu_minutes(self) -> float:
        """Processor time of the whole run, earlier parts included, in minutes."""
        return (self.cpu_seconds + time.process_time() - self._started) / 60.0

    def _make_pyramid_head(self) -> nn.Conv2d | None:
        encoder = self.network.vision_encoder
        if not self.options.objective.pyramid_weight:
            return None
        if not isinstance(encoder, TrunkVisionEncoder):
            raise UserError("A mask term on the pyramid needs a vision encoder with a trunk.")
        # 64 logits a latent cell, one for each of its 8 x 8 pixels.
        return nn.Conv2d(encoder.config["pyramid_channels"], 64, 1).to(self.device)

    def _averaged(self) -> Iterator[tuple[str, nn.Parameter]]:
        yield from self.network.unet.named_parameters(prefix="unet")
        if self.options.optimisation.ema_all:
            yield from self.network.vision_encoder.named_parameters(prefix="vision_encoder")

    def _make_optimiser(self) -> torch.optim.AdamW:
        rules, encoder = self.options.optimisation, self.network.vision_encoder
        rate = rules.learning_rate
        trunk = list(encoder.trunk.parameters()) if isinstance(encoder, TrunkVisionEncoder) else []
        inside = {id(p) for p in trunk}
        rest = [p for p in encoder.parameters() if id(p) not in inside]
        rest += list(self.network.unet.parameters())
        rest += list(self.pyramid_head.parameters()) if self.pyramid_head else []
        groups = [{"params": rest, "lr": rate}]
        if trunk:
            groups.append({"params": trunk, "lr": rate * rules.trunk_factor})
        for group in groups:
            group["initial_lr"] = group["lr"]
        return torch.optim.AdamW(groups, weight_decay=rules.weight_decay)

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> None:
        """Trains to the last step, then puts the averaged weights in place.

        Raises:
            Cancelled: asked to stop; a checkpoint was written.
            UserError: the loss became NaN; the last good checkpoint stays.
        """
        while self.step < self.options.optimisation.steps:
            if is_cancelled and is_cancelled():
                self.save()
                raise Cancelled
            losses = self._update()
            self.step += 1
            val_dice = self._after_step(losses)
            if progress:
                steps = self.options.optimisation.steps
                progress(Progress(self.step, steps, losses, val_dice))
        self.save()
        self.ema.swap(self._averaged())
        self.network.requires_grad_(False).eval()

    def _after_step(self, losses: dict[str, float]) -> float | None:
        options = self.options
        last = self.step == options.optimisation.steps
        val_dice = self.validate() if last or self.step % options.val_every == 0 else None
        if val_dice is not None or self.step % 20 == 0:
            self._write_curves(losses, val_dice)
        if self.step % options.checkpoint_every == 0:
            self.save()
        return val_dice

    def _update(self) -> dict[str, float]:
        """One step of gradient descent."""
        options, rules = self.options, self.options.optimisation
        generator = step_generator(options.seed, "train", self.step)
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))  # dropout
        indices = batch_indices(len(self.train_data), rules.batch, generator)
        pictures, masks = augment(*self.train_data.batch(indices), options.augmentation, generator)
        self._set_rate()
        self.network.unet.train()
        self.network.vision_encoder.train()
        losses = self._losses(pictures.to(self.device), masks.to(self.device), generator)
        if not math.isfinite(losses["loss"].item()):
            raise UserError(
                f"The loss is not a number at step {self.step}.",
                hint="Use a lower learning rate; the last good state is kept and can be resumed.",
            )
        self.optimiser.zero_grad(set_to_none=True)
        losses["loss"].backward()
        trained = [p for group in self.optimiser.param_groups for p in group["params"]]
        limit = rules.clip or math.inf
        torch.nn.utils.clip_grad_norm_(trained, limit, error_if_nonfinite=True)
        self.optimiser.step()
        self.ema.update(self._averaged())
        return {name: value.item() for name, value in losses.items()}

    def _set_rate(self) -> None:
        rules = self.options.optimisation
        factor = min(1.0, (self.step + 1) / max(rules.warmup, 1))
        if rules.decay == "cosine" and self.step >= rules.warmup:
            done = (self.step - rules.warmup) / max(rules.steps - rules.warmup, 1)
            factor = 0.5 * (1.0 + math.cos(math.pi * done))
        for group in self.optimiser.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def _timesteps(self, count: int, generator: torch.Generator) -> Tensor:
        last = self.network.schedule.last
        uniform = torch.randint(last + 1, (count,), generator=generator)
        at_last = torch.rand(count, generator=generator) < self.options.objective.last_share
        return torch.where(at_last, last, uniform)

    def _losses(
        self, pictures: Tensor, masks: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        network, goal = self.network, self.options.objective
        autocast = torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.options.optimisation.precision == "bf16",
        )
        with torch.no_grad(), autocast:
            z0 = network.encode_mask(mask_picture(masks), generator).float()
        # Drawn on the CPU, so that every device sees the same noise.
        noise = torch.randn(z0.shape, generator=generator).to(self.device)
        t = self._timesteps(len(z0), generator).to(self.device)
        z_t = network.schedule.add_noise(z0, noise, t)
        with autocast:
            condition, pyramid_logits = self._condition(pictures)
            output = network.predict(z_t, t, condition)
        output = output.float()
        noise_l1, latent_l1 = noise_and_latent_loss(network, output, z0, z_t, noise, t)
        losses = {"noise": noise_l1, "latent": latent_l1}
        total = goal.sdseg_weight * (noise_l1 + goal.latent_lambda * latent_l1)
        if goal.mask_weight:
            estimate = network.schedule.latent_estimate(output, z_t, t, network.prediction_type)
            with autocast:
                decoded = network.decode_picture(estimate)
            losses["mask"] = mask_loss(decoded_logits(decoded), masks)
            total = total + goal.mask_weight * losses["mask"]
        if pyramid_logits is not None:
            losses["pyramid"] = mask_loss(pyramid_logits.float(), masks)
            total = total + goal.pyramid_weight * losses["pyramid"]
        return {"loss": total, **losses}

    def _condition(self, pictures: Tensor) -> tuple[Tensor, Tensor | None]:
        encoder = self.network.vision_encoder
        if self.pyramid_head is None or not isinstance(encoder, TrunkVisionEncoder):
            return self.network.condition(pictures), None
        pyramid = encoder.pyramid(pictures)
        return encoder.out(pyramid), F.pixel_shuffle(self.pyramid_head(pyramid), 8)

    @torch.inference_mode()
    def validate(self) -> float:
        """Mean Dice over the cases of val with the averaged weights, at the network's size."""
        self.ema.swap(self._averaged())
        self.network.eval()
        try:
            return mean_dice(self.network, self.val_data, self.device, self.options.seed)
        finally:
            self.ema.swap(self._averaged())

    def _write_curves(self, losses: dict[str, float], val_dice: float | None) -> None:
        file = self.options.run_folder / CURVES
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = not file.exists()
        row: dict[str, Any] = {
            "step": self.step,
            "cpu_minutes": f"{self.cpu_minutes:.2f}",
            **losses,
        }
        row["val_dice"] = "" if val_dice is None else f"{val_dice:.4f}"
        with file.open("a", newline="", encoding="utf-8") as stream:
            writer: csv.DictWriter[str] = csv.DictWriter(stream, COLUMNS, restval="")
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def save(self) -> None:
        """Writes a checkpoint from which the run goes on equal."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.averages.items()}
        tensors |= optimiser_tensors(self.optimiser)
        if self.pyramid_head is not None:
            tensors |= {f"pyramid.{k}": v for k, v in self.pyramid_head.state_dict().items()}
        state = {
            **self.remember,
            "step": self.step,
            "ema_updates": self.ema.updates,
            "scale_factor": self.network.scale_factor,
            "cpu_seconds": self.cpu_minutes * 60.0,
        }
        save_checkpoint(self.options.run_folder, tensors, state)

    def restore(self, folder: Path) -> bool:
        """Goes back to the last checkpoint; False if there is none."""
        found = load_checkpoint(folder)
        if found is None:
            return False
        tensors, state = found

        def under(prefix: str) -> dict[str, Tensor]:
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.network.load_state_dict(under("network."))
        if self.pyramid_head is not None:
            self.pyramid_head.load_state_dict(under("pyramid."))
        self.ema.averages = {k: v.to(self.device) for k, v in under("ema.").items()}
        restore_optimiser(self.optimiser, tensors)
        self.step = state["step"]
        self.ema.updates = state["ema_updates"]
        self.network.scale_factor = state["scale_factor"]
        self.cpu_seconds += state["cpu_seconds"]
        return True


def mean_dice(
    network: SDSegNetwork, data: SliceDataset, device: torch.device, seed: int, batch: int = 8
) -> float:
    """Mean over cases of the Dice of single-step inference, at the network's size.

    All slices of a case count as one mask.
    """
    size = data.pictures.shape[-1] // 8
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((1, 4, size, size), generator=generator)
    found: list[Tensor] = []
    for start in range(0, len(data), batch):
        indices = torch.arange(start, min(start + batch, len(data)))
        pictures, _ = data.batch(indices)
        condition = network.condition(pictures.to(device))
        z0 = network.estimate_z0(noise.expand(len(indices), -1, -1, -1).to(device), condition)
        found.append((network.decode(z0) > 0.5).cpu())
    answers, truths = torch.cat(found).numpy(), (data.masks > 127).numpy()
    cases = data.cases.numpy()
    scores = [dice(answers[cases == n], truths[cases == n]) for n in range(len(data.names))]
    return sum(scores) / len(scores)
