"""Tokens per second of edgecarbon's worker against Hugging Face's Trainer, in turns, in one process.

Same architecture, random weights, data, precision, batch, optimiser and learning rate. The Trainer is set up as somebody
who knows it would: SDPA attention, bf16 where the hardware has it, fused AdamW, no logging, saving or evaluation. Warm-up
steps come before every timed stretch, on both sides. Needs torch, transformers and accelerate, and nothing else but
PYTHONPATH=lib, so that it also runs on a GPU machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments

from edgecarbon.worker.accelerator import choose_precision, select
from edgecarbon.worker.attention import unpadded_causal_attention
from edgecarbon.worker.flops import find_peak, flops_per_step
from edgecarbon.worker.memory import keep_freed_memory
from edgecarbon.worker.model import load, make_config
from edgecarbon.worker.spec import ModelSpec, TrainingSpec
from edgecarbon.worker.training import Engine

ARCHITECTURES = Path(__file__).resolve().parent.parent / "lib/edgecarbon/bundled/models"
LEARNING_RATE, WEIGHT_DECAY, CLIP = 1e-4, 0.1, 1.0


def architecture(name):
    for path in ARCHITECTURES.rglob("*.json"):
        if name in (path.stem, path.stem.split("--")[-1]):
            return json.loads(path.read_text())
    names = sorted(path.stem for path in ARCHITECTURES.rglob("*.json"))
    raise SystemExit(f"no bundled model '{name}'; there are: {', '.join(names)}")


class Worker:
    """Our training loop as a run drives it."""

    name = "edgecarbon"

    def __init__(self, config, blocks, arguments, accelerator, precision):
        self.accelerator, self.blocks, self.batch = accelerator, blocks, arguments.batch
        spec = TrainingSpec(
            batch_size=arguments.batch, sequence_length=arguments.sequence, steps=arguments.steps,
            warmup_steps=arguments.warmup, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP,
            precision=precision, seed=1, micro_batch_size=None, activation_checkpointing=False, compile="auto",
            threads=None,
        )  # fmt: skip
        loaded = load(ModelSpec("bench", config, "random", None), accelerator.device, arguments.sequence, 1)
        self.parameters = loaded.parameters
        self.engine = Engine(loaded, spec, accelerator, precision, lambda note: print(f"  note: {note}"))
        self.steps = arguments.steps
        self.rest(warm_up=True)

    def rest(self, warm_up=False):
        source = (self.blocks[start : start + self.batch] for start in range(0, len(self.blocks), self.batch))
        if warm_up:
            for _ in self.engine.warm_up(source):
                pass
        return source

    def timed(self):
        """Seconds for the timed steps."""
        source = self.rest(warm_up=True)
        self.accelerator.synchronize()
        start = time.perf_counter()
        losses = [self.engine.step(next(source)) for _ in range(self.steps)]
        self.accelerator.synchronize()
        seconds = time.perf_counter() - start
        assert all(torch.isfinite(loss).all() for loss in losses)
        return seconds


class Blocks(Dataset):
    def __init__(self, blocks):
        self.blocks = blocks

    def __len__(self):
        return len(self.blocks)

    def __getitem__(self, index):
        ids = self.blocks[index].long()
        return {"input_ids": ids, "labels": ids}


class Stopwatch(TrainerCallback):
    """Times the steps after the warm-up ones, between synchronised ends."""

    def __init__(self, accelerator, warmup):
        self.accelerator, self.warmup, self.start, self.end = accelerator, warmup, 0.0, 0.0

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.warmup:
            self.accelerator.synchronize()
            self.start = time.perf_counter()

    def on_train_end(self, args, state, control, **kwargs):
        self.accelerator.synchronize()
        self.end = time.perf_counter()


class HuggingFace:
    """The Trainer, with or without torch.compile."""

    def __init__(self, config, blocks, arguments, accelerator, precision, compiled=False):
        self.name = "transformers.Trainer" + (", compiled" if compiled else "")
        self.accelerator, self.arguments, self.compiled = accelerator, arguments, compiled
        self.blocks, self.precision = Blocks(blocks), precision
        torch.manual_seed(1)
        self.model = AutoModelForCausalLM.from_config(make_config(config), attn_implementation="sdpa")
        self.model.to(accelerator.device)

    def timed(self):
        watch = Stopwatch(self.accelerator, self.arguments.warmup)
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                output_dir=folder, per_device_train_batch_size=self.arguments.batch, save_strategy="no",
                max_steps=self.arguments.warmup + self.arguments.steps, logging_strategy="no", report_to=[],
                eval_strategy="no", learning_rate=LEARNING_RATE, lr_scheduler_type="constant", disable_tqdm=True,
                weight_decay=WEIGHT_DECAY, max_grad_norm=CLIP, optim="adamw_torch_fused", seed=1,
                bf16=self.precision == "bf16", torch_compile=self.compiled, dataloader_num_workers=0,
                use_cpu=self.accelerator.kind == "cpu", dataloader_pin_memory=self.accelerator.kind == "cuda",
            )  # fmt: skip
            Trainer(model=self.model, args=settings, train_dataset=self.blocks, callbacks=[watch]).train()
        return watch.end - watch.start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="opt-125m")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--sequence", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    accelerator = select("auto")
    if accelerator.kind == "cpu":
        keep_freed_memory()  # as a run does; both sides live in this process
    precision = choose_precision(arguments.precision, accelerator)
    config = architecture(arguments.model)
    count = (arguments.warmup + arguments.steps) * arguments.batch
    generator = torch.Generator().manual_seed(1)
    blocks = torch.randint(config["vocab_size"], (count, arguments.sequence), dtype=torch.int32, generator=generator)
    peak = find_peak(accelerator, precision, None)
    ours = Worker(config, blocks, arguments, accelerator, precision)
    sides = [ours, HuggingFace(config, blocks, arguments, accelerator, precision)]
    if accelerator.kind == "cuda":
        sides.append(HuggingFace(config, blocks, arguments, accelerator, precision, compiled=True))
    tokens = arguments.steps * arguments.batch * arguments.sequence
    rates = {side.name: [] for side in sides}
    for _ in range(arguments.rounds):
        for side in sides:
            if side is ours:
                with unpadded_causal_attention():
                    rates[side.name].append(tokens / side.timed())
            else:
                rates[side.name].append(tokens / side.timed())
    flops_per_token = flops_per_step(ours.parameters, 1, 1)
    print(
        f"{arguments.model}, {precision} on {accelerator.name()}, torch {torch.__version__}, batch {arguments.batch} × "
        f"{arguments.sequence}, {arguments.steps} steps, {arguments.rounds} rounds; peak: "
        + (f"{peak.flops_per_second / 1e12:.2f} TFLOP/s ({peak.source})" if peak else "unknown")
    )
    rows = []
    base = statistics.median(rates["transformers.Trainer"])
    print(f"{'':32}{'tokens/s':>12}{'lowest':>10}{'highest':>10}{'ratio':>8}{'MFU':>8}")
    for name, values in rates.items():
        median = statistics.median(values)
        mfu = flops_per_token * median / peak.flops_per_second if peak else None
        rows.append(
            {"name": name, "tokens_per_second": median, "rounds": values, "ratio_to_trainer": median / base, "mfu": mfu}
        )
        shown = f"{mfu:8.1%}" if mfu else f"{'–':>8}"
        print(f"{name:32}{median:12,.0f}{min(values):10,.0f}{max(values):10,.0f}{median / base:8.2f}{shown}")
    if arguments.out:
        settings = {key: value for key, value in vars(arguments).items() if key != "out"}
        device = {"accelerator": accelerator.name(), "precision": precision, "torch": torch.__version__}
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps({**settings, **device, "sides": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
