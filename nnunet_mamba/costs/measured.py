"""Time and memory of a network on this machine: a forward pass of one patch, and a training step of a batch."""

import ctypes
import gc
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.functional import interpolate
from tqdm import tqdm

from nnunet_mamba.costs.subject import Subject

RUNS = 5
ENOUGH = 30.0  # seconds for the runs of one thing: a slow machine does fewer
CLEAR = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")


class Measured(NamedTuple):
    """Medians in seconds, and peaks in bytes (None where this system does not tell) with weights and activations.

    `parts`: seconds of one forward pass in each part of the network.
    """

    device: str
    threads: int
    runs: int
    forward_seconds: float
    forward_bytes: int | None
    step_seconds: float
    step_bytes: int | None
    parts: dict[str, float]


def measure(subject: Subject, device: str) -> Measured:
    """Run the network as it predicts and as it is trained, with noise."""
    with tqdm(total=2, desc="measuring ", unit="pass") as passes:
        forward, parts = _forward(subject, device)
        passes.update()
        step = _Step(subject, device)
        trained = _run(step, device, step.kept)
        passes.update()
    runs = min(forward.runs, trained.runs)
    threads = torch.get_num_threads()
    return Measured(device, threads, runs, forward.seconds, forward.peak, trained.seconds, trained.peak, parts)


class _Run(NamedTuple):
    seconds: float
    peak: int | None
    runs: int


def _forward(subject: Subject, device: str) -> tuple[_Run, dict[str, float]]:
    network = subject.build(training=False).eval().to(device)
    image = torch.randn(1, subject.in_channels, *subject.patch, device=device)

    def forward() -> None:
        with torch.inference_mode(), _autocast(device):
            network(image)

    run = _run(forward, device, lambda: _weights(network))
    return run, _parts(network, forward, device)


class _Step:
    """Training steps: forward, loss, backward, clipped gradients, optimiser; on CUDA in mixed precision."""

    def __init__(self, subject: Subject, device: str):
        self.device = device
        self.network = subject.build(training=True).train().to(device)
        trainer = subject.trainer
        self.loss = _loss(subject).to(device)
        build = getattr(trainer, "build_optimizer", _nnunets_optimizer)
        rate, decay = getattr(trainer, "initial_lr", 1e-2), getattr(trainer, "weight_decay", 3e-5)
        self.optimizer = build(self.network.parameters(), rate, decay)
        self.scaler = torch.amp.GradScaler("cuda") if device == "cuda" else None
        self.images = torch.randn(subject.batch, subject.in_channels, *subject.patch, device=device)
        channels = subject.heads if subject.has_regions and subject.heads > 1 else 1
        self.target = torch.zeros(subject.batch, channels, *subject.patch, device=device)
        self.target[..., : subject.patch[-1] // 2] = 1

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with _autocast(self.device):
            outputs = self.network(self.images)
            outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
            losses = [self.loss(output, self._target(output.shape[2:])) for output in outputs]
        loss = torch.stack(losses).sum()
        if self.scaler is None:
            loss.backward()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _target(self, size: torch.Size) -> torch.Tensor:
        return self.target if self.target.shape[2:] == size else interpolate(self.target, size)

    def kept(self) -> int:
        """Bytes that live between steps: weights, gradients, moments, the batch."""
        of_optimizer = [x for state in self.optimizer.state.values() for x in state.values() if torch.is_tensor(x)]
        gradients = [x.grad for x in self.network.parameters() if x.grad is not None]
        return _weights(self.network) + _bytes([*gradients, *of_optimizer, self.images, self.target])


def _loss(subject: Subject) -> nn.Module:
    """The trainer's, or nnU-Net's Dice with cross entropy."""
    if hasattr(subject.trainer, "build_loss"):
        return subject.trainer.build_loss(has_regions=subject.has_regions)
    from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    options = {"batch_dice": True, "do_bg": subject.has_regions, "smooth": 1e-5, "ddp": False}
    if subject.has_regions:
        return DC_and_BCE_loss({}, options, dice_class=MemoryEfficientSoftDiceLoss)
    return DC_and_CE_loss(options, {}, dice_class=MemoryEfficientSoftDiceLoss)


def _nnunets_optimizer(parameters: Iterable[nn.Parameter], rate: float, decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, rate, momentum=0.99, nesterov=True, weight_decay=decay)


def _autocast(device: str) -> torch.autocast:
    return torch.autocast("cuda", enabled=True) if device == "cuda" else torch.autocast("cpu", enabled=False)


def _weights(network: nn.Module) -> int:
    return _bytes([*network.parameters(), *network.buffers()])


def _bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _run(work: Callable[[], None], device: str, kept: Callable[[], int]) -> _Run:
    """Median seconds, peak and number of runs, after one to warm up. `kept`: bytes that live between runs."""
    work()
    _wait(device)
    peak = _peak(work, device, kept())
    times: list[float] = []
    while len(times) < RUNS and sum(times) < ENOUGH:
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return _Run(median(times), peak, len(times))


def part_of(name: str) -> str:
    """encoder.0.mamba.fc -> encoder.0: a module's name up to the first number, or its first word."""
    words = name.split(".")
    return ".".join(words[:2]) if len(words) > 1 and words[1].isdecimal() else words[0]


def _parts(network: nn.Module, forward: Callable[[], None], device: str) -> dict[str, float]:
    """Seconds of one forward pass in each part: in the outermost modules that the network calls."""
    seconds: dict[str, float] = {}
    depth, start = 0, 0.0

    def enter(*_) -> None:
        nonlocal depth, start
        depth += 1
        if depth == 1:
            _wait(device)
            start = time.perf_counter()

    def leave(name: str) -> None:
        nonlocal depth
        depth -= 1
        if depth == 0:
            _wait(device)
            seconds[part_of(name)] = seconds.get(part_of(name), 0.0) + time.perf_counter() - start

    hooks = []
    for name, module in network.named_modules():
        if name:
            hooks.append(module.register_forward_pre_hook(enter))
            hooks.append(module.register_forward_hook(lambda *_, name=name: leave(name)))
    forward()
    for hook in hooks:
        hook.remove()
    return seconds


def _peak(work: Callable[[], None], device: str, lives_already: int) -> int | None:
    """Bytes at the peak of `work`. On CUDA what torch allocates; on Linux's CPUs resident memory; elsewhere unknown."""
    gc.collect()
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    if device != "cpu" or not sys.platform.startswith("linux"):
        return None
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed must not count as already there
        before = _resident("VmRSS")
        CLEAR.write_text("5")  # the high-water mark starts anew
    except (OSError, AttributeError):
        return None
    work()
    return max(0, _resident("VmHWM") - before) + lives_already


def _resident(key: str) -> int:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
