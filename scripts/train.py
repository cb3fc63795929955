#!/usr/bin/env python3
"""Trains a small decoder-only transformer on the ids of scripts/corpus.py and exports it as GGUF.

    scripts/train.py train CORPUS_DIR RUN_DIR --minutes 60      a time budget, or --steps, or both: the first ends it
        [--position t5]                     a scheme of scripts/fast_positions.py, rope unless told
        [--position rope,rope,rope,none]    one for each layer
    scripts/train.py export RUN_DIR OUT.gguf [--type q8_0]

`train` writes RUN_DIR/checkpoint.pt and RUN_DIR/loss.csv as it goes. Started again on the same RUN_DIR it goes on from
the checkpoint, in the shape it was begun with; its time budget counts the minutes trained before. The learning rate
falls to zero as the budget runs out, so every run ends on its best model. Models of the same seed that differ only in
their position scheme begin with the same weights and see the same windows.

Every window is <|endoftext|> and then text from the start of a paragraph on: a prompt is fed to the model the same way.

Models with rotary positions in all layers are exported as architecture "llama", which other engines read, too; all
others as "longhand", with the keys and tensors that scripts/positions.py describes.
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

from fast_positions import SCHEMES, SPREAD
from positions import add_keys, share

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
    position: str = "rope"  # of fast_positions.SCHEMES, or one for each layer with commas between
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self):
        return self.dim // self.n_heads

    @property
    def positions(self):
        """The scheme of each layer."""
        names = self.position.split(",")
        if unknown := set(names) - set(SCHEMES):
            raise SystemExit(f"no position schemes: {', '.join(unknown)}; there are {', '.join(SCHEMES)}")
        if len(names) not in (1, self.n_layers):
            raise SystemExit(f"{self.position}: {len(names)} position schemes for {self.n_layers} layers")
        if any(SCHEMES[name].absolute and name != names[0] for name in names):
            raise SystemExit(f"{self.position}: a scheme that adds to the embedding must be the first layer's")
        return names if len(names) > 1 else names * self.n_layers

    @property
    def unit(self):
        """Of the residual stream."""
        return SCHEMES[self.positions[0]].unit

    @property
    def architecture(self):
        return "llama" if set(self.positions) == {"rope"} else "longhand"

    @property
    def keys(self):
        """Of the GGUF file, without the architecture before them."""
        keys = {
            "vocab_size": self.vocab_size,
            "context_length": self.seq_len,
            "embedding_length": self.dim,
            "feed_forward_length": self.hidden_dim,
            "block_count": self.n_layers,
            "attention.head_count": self.n_heads,
            "attention.head_count_kv": self.n_kv_heads,
            "attention.layer_norm_rms_epsilon": self.norm_eps / self.unit**2,
        }
        if self.architecture == "longhand":
            keys["position.type"] = self.position if "," not in self.position else self.positions
        for name in dict.fromkeys(self.positions):
            for key, value in SCHEMES[name].settings(self).items():
                if keys.setdefault(key, value) != value:
                    raise SystemExit(f"{self.position}: the schemes have different {key}: {keys[key]} and {value}")
        return keys


# --- The model. Shapes: b windows, t tokens, h heads, d = head_dim. ---------------------------------------------------


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.head_dim = config.head_dim
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)

    # Schemes know the projections by these names.
    attn_q = property(lambda self: self.wq)
    attn_k = property(lambda self: self.wk)

    def forward(self, x, position):
        q, k, v = (w(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for w in (self.wq, self.wk, self.wv))
        return self.wo(position.attention(q, k, v, self).transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w2 = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden_dim, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Layer(nn.Module):
    def __init__(self, config, number):
        super().__init__()
        self.attention_norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.dim, config.norm_eps)
        self.ffn = FeedForward(config)
        self.position = SCHEMES[config.positions[number]](config.keys, number)

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x), self.position)
        return x + self.ffn(self.ffn_norm(x))


# Parts of our names -> GGUF's; modules that GGUF does not name are left out.
GGUF_NAMES = {
    "embedding": "token_embd",
    "layers": "blk",
    "attention": None,
    "attention_norm": "attn_norm",
    "wq": "attn_q",
    "wk": "attn_k",
    "wv": "attn_v",
    "wo": "attn_output",
    "position": None,
    "ffn": None,
    "ffn_norm": "ffn_norm",
    "w1": "ffn_gate",
    "w2": "ffn_down",
    "w3": "ffn_up",
    "norm": "output_norm",
}


class Transformer(nn.Module):
    """The Llama architecture without biases; the output projection is the embedding table."""

    def __init__(self, config):
        super().__init__()
        self.embedding = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.n_layers))
        self.norm = nn.RMSNorm(config.dim, config.norm_eps)
        for kind in set(config.positions):
            schemes = [layer.position for name, layer in zip(config.positions, self.layers) if name == kind]
            share(schemes, SCHEMES[kind].shared)
        self.unit = config.unit
        self.begin(config)

    @torch.no_grad()
    def begin(self, config):
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and ".position." not in name:
                # What adds to the residual stream starts smaller the more layers add to it (GPT-2).
                adds_to_residual = name.endswith(("wo.weight", "w2.weight"))
                nn.init.normal_(weight, std=SPREAD / math.sqrt(2 * config.n_layers) if adds_to_residual else SPREAD)
        for layer in self.layers:
            layer.position.begin()

    def forward(self, ids):  # (b, t) -> logits (b, t, vocab_size)
        x = self.embedding(ids)
        added = self.layers[0].position.added_embedding()
        if added is not None:
            x = x + added
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.embedding.weight)

    @torch.no_grad()
    def constrain(self):
        for layer in self.layers:
            layer.position.constrain()

    def tensors(self):
        """(name, weight) of the GGUF file. All that enters the residual stream leaves our unit; the last norm makes up
        for it in the output projection."""
        scales = {"embedding": 1 / self.unit, "wo": 1 / self.unit, "w2": 1 / self.unit, "norm": self.unit}
        for name, weight in self.named_parameters():
            parts = name.split(".")
            if ".position." in name and parts[3] in self.layers[int(parts[1])].position.shared:
                yield ".".join(parts[3:]), weight
            else:
                renamed = (GGUF_NAMES.get(part, part) for part in parts)
                yield ".".join(filter(None, renamed)), weight * scales.get(parts[-2], 1)


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
    """Muon (Jordan et al. 2024) for the matrices of the layers, AdamW for the rest; no decay of norms and of the tables
    of position schemes."""
    tables = {weight for layer in model.layers for weight in layer.position.tables()}
    matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2 and weight not in tables]
    undecayed = [weight for weight in model.parameters() if weight.dim() == 1 or weight in tables]
    groups = [{"params": model.embedding.parameters()}, {"params": undecayed, "weight_decay": 0.0}]
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
    shape = {name: getattr(options, name) for name in SHAPE_OPTIONS if hasattr(options, name)}
    config = Config(vocab_size=len(vocab), **shape)
    if checkpoint_path.exists():
        checkpoint = torch.load(checkpoint_path, map_location=device, weights_only=True)
        if checkpoint["tokenizer_json"] != tokenizer_json:
            raise SystemExit(f"{checkpoint_path}: was trained with another tokenizer than {options.corpus_dir}")
        config = Config(**checkpoint["config"])
        if any(getattr(config, name) != value for name, value in shape.items()):
            raise SystemExit(f"{checkpoint_path}: was begun as {config}")
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
        model.constrain()
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


BLOCK = 32  # numbers that Q8_0 stores together


def fills_blocks(name, weight):
    """Whether it is a matrix worth a type of fewer bits. What it is not: vectors, and small tables of schemes."""
    n_rows, n_columns = weight.shape if weight.ndim == 2 else (1, 1)
    return n_columns % BLOCK == 0 and (n_rows % BLOCK == 0 or name == "token_embd.weight")


def export(options):
    import gguf  # here, so that training does without it

    checkpoint = torch.load(options.run_dir / "checkpoint.pt", map_location="cpu", weights_only=True)
    config = Config(**checkpoint["config"])
    model = Transformer(config)
    model.load_state_dict(checkpoint["model"])
    tokens, merges = vocabulary(checkpoint["tokenizer_json"])
    matrix_type = gguf.GGMLQuantizationType[options.type.upper()]
    file_type = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}[options.type]

    writer = gguf.GGUFWriter(options.out, config.architecture)
    writer.add_name(options.out.stem)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_keys(writer, config.architecture, config.keys)

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

    for name, weight in model.tensors():
        tensor_type = matrix_type if fills_blocks(name, weight) else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize(weight.detach().numpy(), tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, from step {checkpoint['step']}")


# What a model can be told to be, with the defaults of Config.
SHAPE_OPTIONS = {field.name: field for field in dataclasses.fields(Config) if field.name != "vocab_size"}


def main(arguments=None):
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
    shape = command.add_argument_group("shape of the model; when it goes on from a checkpoint, that of the checkpoint")
    for name, field in SHAPE_OPTIONS.items():
        shape.add_argument(
            f"--{name.replace('_', '-')}", type=field.type, default=argparse.SUPPRESS,
            metavar="VALUE", help=f"{field.default} unless told",
        )

    command = commands.add_parser("export")
    command.set_defaults(run=export)
    command.add_argument("run_dir", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--type", choices=("q8_0", "f16", "f32"), default="q8_0", help="of the matrices")

    options = parser.parse_args(arguments)
    if options.run is train and options.minutes == options.steps == math.inf:
        parser.error("train: give --minutes or --steps")
    options.run(options)


if __name__ == "__main__":
    main()
