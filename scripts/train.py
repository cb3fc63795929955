#!/usr/bin/env python3
"""Trains a small decoder-only transformer on the ids of scripts/corpus.py and exports it as GGUF.

    scripts/train.py train CORPUS_DIR RUN_DIR --minutes 60      a time budget, or --steps, or both: the first ends it
    scripts/train.py export RUN_DIR OUT.gguf [--type q8_0]

`train` writes RUN_DIR/checkpoint.pt and RUN_DIR/loss.csv as it goes. Started again on the same RUN_DIR it goes on from
the checkpoint, in the shape it was begun with; its time budget counts the minutes trained before. The learning rate
falls to zero as the budget runs out, so every run ends on its best model.

Every window is <|endoftext|> and then text from the start of a paragraph on: a prompt is fed to the model the same way.
"""

import argparse
import csv
import dataclasses
import json
import math
import os
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

END_OF_TEXT = "<|endoftext|>"


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int
    seq_len: int = 256  # tokens of a training window: the training length
    dim: int = 256
    hidden_dim: int = 704
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int = 2
    position: str = "rope"
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.n_heads


# --- The model. Shapes: b windows, t tokens, h heads, d = head_dim. ---------------------------------------------------


class Rope(nn.Module):
    """Rotates the pairs (0,1), (2,3), ... of a head by angles in proportion to the position (Su et al. 2021)."""

    def __init__(self, config):
        super().__init__()
        frequency = config.rope_base ** (-torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim)
        angle = torch.outer(torch.arange(config.seq_len, dtype=torch.float64), frequency)
        self.register_buffer("cos", angle.cos().float(), persistent=False)  # (t, d/2)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, x):  # (b, h, t, d)
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        rotated = torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), -1)
        return rotated.flatten(-2).type_as(x)


# A position scheme: what is done to the queries and keys of a layer.
POSITIONS = {"rope": Rope}


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.head_dim = config.head_dim
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)

    def forward(self, x, position):
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        mixed = F.scaled_dot_product_attention(position(q), position(k), v, is_causal=True, enable_gqa=True)
        return self.wo(mixed.transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w2 = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden_dim, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(self, x, position):
        x = x + self.attention(self.attention_norm(x), position)
        return x + self.ffn(self.ffn_norm(x))


class Transformer(nn.Module):
    """The Llama architecture without biases; the output projection is the embedding table."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.position = POSITIONS[config.position](config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layers))
        self.norm = nn.RMSNorm(config.dim, config.norm_eps)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # What adds to the residual stream starts smaller the more layers add to it (GPT-2).
                adds_to_residual = name.endswith(("wo.weight", "w2.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.n_layers) if adds_to_residual else 0.02)

    def forward(self, ids):  # (b, t) -> logits (b, t, vocab_size)
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, self.position)
        return F.linear(self.norm(x), self.embedding.weight)


# --- Training ---------------------------------------------------------------------------------------------------------


def vocabulary(tokenizer_json):
    """(tokens in order of id, merges as "left right") of a byte-level BPE in the format of the `tokenizers` library."""
    model = json.loads(tokenizer_json)["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    return tokens, [" ".join(pair) for pair in model["merges"]]


class Windows:
    """The windows of one split, held on the device."""

    def __init__(self, path, end_of_text, seq_len, device):
        with np.load(path) as split:
            ids, starts = split["ids"], split["starts"]
        last = len(ids) - seq_len  # the last place where a whole window fits
        self.starts = starts[starts <= last]
        if len(self.starts) == 0:
            raise SystemExit(f"{path}: {len(ids)} tokens do not fill one window of {seq_len}")
        self.last = last
        self.end_of_text = end_of_text
        self.ids = torch.from_numpy(ids.astype(np.int32)).to(device)
        self.offsets = torch.arange(seq_len, device=device)

    def at(self, places):
        """(inputs, targets) of windows that begin with the paragraphs in which these places of the text lie."""
        paragraphs = self.starts[np.searchsorted(self.starts[1:], places, side="right")]
        targets = self.ids[torch.from_numpy(paragraphs).to(self.ids.device)[:, None] + self.offsets].long()
        return F.pad(targets[:, :-1], (1, 0), value=self.end_of_text), targets

    def random(self, n, seed):
        """Long paragraphs come as often as their length demands. The same seed gives the same windows."""
        return self.at(np.random.default_rng(seed).integers(self.last + 1, size=n))

    def spread(self, n):
        """Windows evenly apart: the same text at every evaluation."""
        return self.at(np.linspace(0, self.last, n).astype(np.int64))


def optimizers_for(model, learning_rate):
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for the rest; no decay of norms."""
    matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2]
    norms = [weight for weight in model.parameters() if weight.dim() == 1]
    groups = [{"params": model.embedding.parameters()}, {"params": norms, "weight_decay": 0.0}]
    return [
        # An update as large as AdamW's, so that one learning rate serves both.
        torch.optim.Muon(matrices, lr=learning_rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1),
    ]


def learning_rate_share(progress, warm_up=0.02):
    """Linear warm-up, then a cosine to zero; progress goes from 0 to 1 over the whole run."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def write_whole(path, write):
    """Never leaves half a file at `path`: what was there stays until the new one is complete."""
    unfinished = path.with_suffix(".tmp")
    write(unfinished)
    os.replace(unfinished, path)


def train(options):
    options.run_dir.mkdir(parents=True, exist_ok=True)
    checkpoint_path = options.run_dir / "checkpoint.pt"
    tokenizer_json = (options.corpus_dir / "tokenizer.json").read_text(encoding="utf-8")
    vocab = vocabulary(tokenizer_json)[0]
    device = "cuda" if torch.cuda.is_available() else "cpu"

    step, trained_seconds = 0, 0.0
    rows = []  # of loss.csv
    checkpoint = None
    config = Config(vocab_size=len(vocab))
    if checkpoint_path.exists():
        checkpoint = torch.load(checkpoint_path, map_location=device, weights_only=True)
        if checkpoint["tokenizer_json"] != tokenizer_json:
            raise SystemExit(f"{checkpoint_path}: was trained with another tokenizer than {options.corpus_dir}")
        config = Config(**checkpoint["config"])
        step, trained_seconds, rows = checkpoint["step"], checkpoint["seconds"], checkpoint["rows"]

    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    model = Transformer(config).to(device)
    optimizers = optimizers_for(model, options.learning_rate)
    if checkpoint:
        model.load_state_dict(checkpoint["model"])
        for optimizer, state in zip(optimizers, checkpoint["optimizers"]):
            optimizer.load_state_dict(state)
    train_windows, valid_windows = (
        Windows(options.corpus_dir / f"{split}.npz", vocab.index(END_OF_TEXT), config.seq_len, device)
        for split in ("train", "valid")
    )
    print(
        f"{sum(weight.numel() for weight in model.parameters()) / 1e6:.2f} M weights, "
        f"{len(train_windows.ids) / 1e6:.2f} M tokens of training text, {device}, from step {step}",
        flush=True,
    )

    # Processors without bf16 matrix units lose by it.
    autocast = torch.autocast(device, torch.bfloat16) if device == "cuda" else nullcontext()

    def loss_of(ids, targets):
        with autocast:
            logits = model(ids)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    torch._dynamo.config.suppress_errors = True  # where it cannot compile (no C++ compiler, say) it trains uncompiled
    compiled_loss = torch.compile(loss_of, dynamic=False)

    @torch.no_grad()
    def valid_loss():
        ids, targets = valid_windows.spread(options.valid_windows)
        batches = zip(ids.split(options.batch), targets.split(options.batch))
        return sum(loss_of(i, t).item() * len(i) for i, t in batches) / len(ids)

    def save():
        state = {
            "config": dataclasses.asdict(config),
            "tokenizer_json": tokenizer_json,
            "model": model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "step": step,
            "seconds": trained_seconds,
            "rows": rows,
        }
        write_whole(checkpoint_path, lambda path: torch.save(state, path))
        write_whole(options.run_dir / "loss.csv", lambda path: write_csv(path, rows))

    def progress():
        return max(step / options.steps, trained_seconds / 60 / options.minutes)

    compiled_loss(*train_windows.random(options.batch, seed=0)).backward()  # compiles before the clock starts
    model.zero_grad()
    clock = time.monotonic()
    train_loss, n_losses = torch.zeros((), device=device), 0
    while progress() < 1:
        learning_rate = options.learning_rate * learning_rate_share(progress())
        loss = compiled_loss(*train_windows.random(options.batch, seed=(options.seed, step)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad()
        train_loss += loss.detach()
        n_losses += 1
        step += 1
        trained_seconds += time.monotonic() - clock
        clock = time.monotonic()
        if step % options.eval_every == 0 or progress() >= 1:
            row = {
                "step": step,
                "tokens": step * options.batch * config.seq_len,
                "minutes": round(trained_seconds / 60, 2),
                "learning_rate": round(learning_rate, 7),
                "train_loss": round(train_loss.item() / n_losses, 4),
                "valid_loss": round(valid_loss(), 4),
            }
            rows.append(row)
            save()
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            train_loss.zero_()
            n_losses = 0


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


# --- Export ---------------------------------------------------------------------------------------------------------


def tensor_names(config):
    """Our name -> GGUF's, in the order of the file."""
    yield "embedding.weight", "token_embd.weight"
    for i in range(config.n_layers):
        for ours, theirs in (
            ("attention_norm", "attn_norm"),
            ("attention.wq", "attn_q"),
            ("attention.wk", "attn_k"),
            ("attention.wv", "attn_v"),
            ("attention.wo", "attn_output"),
            ("ffn_norm", "ffn_norm"),
            ("ffn.w1", "ffn_gate"),
            ("ffn.w2", "ffn_down"),
            ("ffn.w3", "ffn_up"),
        ):
            yield f"layers.{i}.{ours}.weight", f"blk.{i}.{theirs}.weight"
    yield "norm.weight", "output_norm.weight"


def export(options):
    import gguf  # here, so that training does without it

    checkpoint = torch.load(options.run_dir / "checkpoint.pt", map_location="cpu", weights_only=True)
    config = Config(**checkpoint["config"])
    tokens, merges = vocabulary(checkpoint["tokenizer_json"])
    matrix_type = gguf.GGMLQuantizationType[options.type.upper()]
    file_type = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}[options.type]

    writer = gguf.GGUFWriter(options.out, "llama")
    writer.add_name(options.out.stem)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.seq_len)
    writer.add_embedding_length(config.dim)
    writer.add_feed_forward_length(config.hidden_dim)
    writer.add_block_count(config.n_layers)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)

    end_of_text = tokens.index(END_OF_TEXT)
    token_types = [gguf.TokenType.NORMAL] * len(tokens)
    token_types[end_of_text] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(token_types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(end_of_text)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)

    for ours, theirs in tensor_names(config):
        weight = checkpoint["model"][ours].float().numpy()
        tensor_type = matrix_type if weight.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(theirs, gguf.quantize(weight, tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, from step {checkpoint['step']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("corpus_dir", type=Path)
    command.add_argument("run_dir", type=Path)
    command.add_argument("--minutes", type=float, default=math.inf)
    command.add_argument("--steps", type=int, default=math.inf)
    command.add_argument("--batch", type=int, default=24, help="windows a step, %(default)s unless told")
    command.add_argument("--learning-rate", type=float, default=3e-3, help="its peak, %(default)s unless told")
    command.add_argument("--eval-every", type=int, default=250, help="steps, %(default)s unless told")
    command.add_argument("--valid-windows", type=int, default=128, help="of an evaluation, %(default)s unless told")
    command.add_argument("--seed", type=int, default=1)

    command = commands.add_parser("export")
    command.set_defaults(run=export)
    command.add_argument("run_dir", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--type", choices=("q8_0", "f16", "f32"), default="q8_0", help="of the matrices")

    options = parser.parse_args()
    if options.run is train and options.minutes == options.steps == math.inf:
        parser.error("train: give --minutes or --steps")
    options.run(options)


if __name__ == "__main__":
    main()
