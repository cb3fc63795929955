#!/usr/bin/env python3
"""Trains small decoder-only transformers on the ids of scripts/corpus.py and exports them as GGUF.

    scripts/train.py train CORPUS_DIR RUN_DIR --steps 2000     on to this step
        [--position t5]                     a scheme of scripts/fast_positions.py, rope unless told
        [--position rope,rope,rope,none]    one for each layer
        [--begin-with MODEL.gguf]           on from a model that `export` wrote
    scripts/train.py decay CORPUS_DIR RUN_DIR NEW_RUN_DIR --steps 400
    scripts/train.py export RUN_DIR OUT.gguf [--type q8_0]

`train` warms up and then keeps its learning rate, so that it can go on for as long as there is time: started again on
the same RUN_DIR with more steps it goes on from the checkpoint, and the result is that of one run. `decay` branches
off: from the checkpoint of RUN_DIR it trains so many more steps, on the data that would have come next, with a learning
rate that falls to zero. That makes a model worth exporting, and leaves RUN_DIR as it is (Hu et al. 2024, Haegele et al.
2024).

Both write checkpoint.pt and loss.csv as they go, and can be stopped at any time. `export` writes OUT.csv, too: the loss
over the whole training, as loss.csv has it. From the two a later run can go on where no checkpoint was kept, at the
step that OUT.csv ends with: that its learning rate had come down, and that the optimizers forget, costs little (Wen et
al. 2024). Models of the same seed that differ only in their position scheme begin with the same weights and see the
same windows.

Copying what was read is learnt late: with --answer-weight 8, say, sooner, since the answers of made-up documents are
but 5 % of all tokens. It holds for one command, so that it can be told to a run that has begun.

Every window is <|endoftext|> and then text from the start of a paragraph or of a made-up document on: a prompt is fed
to the model the same way.

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
from muon import Muon
from positions import add_keys, share

END_OF_TEXT, TURN_START, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclasses.dataclass(frozen=True)
class Config:
    vocab_size: int
    seq_len: int = 256  # tokens of a training window: the training length
    dim: int = 256
    hidden_dim: int = 704
    n_layers: int = 4
    n_heads: int = 8
    n_kv_heads: int = 4
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
        """(name, weight, what it is multiplied by) of the GGUF file. All that enters the residual stream leaves our
        unit; the last norm makes up for it in the output projection."""
        scales = {"embedding": 1 / self.unit, "wo": 1 / self.unit, "w2": 1 / self.unit, "norm": self.unit}
        for name, weight in self.named_parameters():
            parts = name.split(".")
            if ".position." in name and parts[3] in self.layers[int(parts[1])].position.shared:
                yield ".".join(parts[3:]), weight, 1
            else:
                renamed = (GGUF_NAMES.get(part, part) for part in parts)
                yield ".".join(filter(None, renamed)), weight, scales.get(parts[-2], 1)


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
            ids, starts, answers = split["ids"], split["starts"], split["answers"]
        last = len(ids) - seq_len  # the last place where a whole window fits
        self.starts = starts[starts <= last]
        if len(self.starts) == 0:
            raise SystemExit(f"{path}: {len(ids)} tokens do not fill one window of {seq_len}")
        self.last = last
        self.end_of_text = end_of_text
        self.ids = torch.from_numpy(ids.astype(np.int32)).to(device)
        # One more at the first token of an answer, one less behind its last: the sum so far tells who is inside.
        edges = np.zeros(len(ids) + 1, np.int8)
        edges[answers[:, 0]] += 1
        edges[answers[:, 1]] -= 1
        self.in_answer = torch.from_numpy(edges[:-1].cumsum(dtype=np.int8) > 0).to(device)
        self.offsets = torch.arange(seq_len, device=device)

    def at(self, places):
        """(inputs, targets, which targets belong to answers) of windows that begin with the paragraphs in which these
        places of the text lie."""
        paragraphs = self.starts[np.searchsorted(self.starts[1:], places, side="right")]
        indices = torch.from_numpy(paragraphs).to(self.ids.device)[:, None] + self.offsets
        targets = self.ids[indices].long()
        return F.pad(targets[:, :-1], (1, 0), value=self.end_of_text), targets, self.in_answer[indices]

    def random(self, n, seed):
        """Long paragraphs come as often as their length demands. The same seed gives the same windows."""
        return self.at(np.random.default_rng(seed).integers(self.last + 1, size=n))

    def spread(self, n):
        """Windows evenly apart: the same text at every evaluation."""
        return self.at(np.linspace(0, self.last, n).astype(np.int64))


class Answers:
    """Made-up documents that are not for training, one a window, and where their last answers stand."""

    def __init__(self, path, end_of_text, seq_len, device):
        with np.load(path) as made:
            ids, starts, answers = made["ids"], made["starts"], made["answers"]
        offsets = np.arange(seq_len)
        targets = np.pad(ids, (0, seq_len))[starts[:, None] + offsets].astype(np.int64)
        first, end = (answers - starts[:, None]).T[..., None]
        self.asked = torch.from_numpy((offsets >= first) & (offsets < end)).to(device)
        self.targets = torch.from_numpy(targets).to(device)
        self.inputs = F.pad(self.targets[:, :-1], (1, 0), value=end_of_text)

    def share_right(self, model, n, batch):
        """Of the first n: answers whose every token is the likeliest."""
        right = 0
        for inputs, targets, asked in zip(*(part[:n].split(batch) for part in (self.inputs, self.targets, self.asked))):
            right += ((model(inputs).argmax(-1) == targets) | ~asked).all(-1).sum().item()
        return right / min(n, len(self.inputs))


def optimizers_for(model, learning_rate):
    """Muon for the matrices of the layers, AdamW for the rest; no decay of norms and of the tables of position
    schemes."""
    tables = {weight for layer in model.layers for weight in layer.position.tables()}
    matrices = [weight for weight in model.layers.parameters() if weight.dim() == 2 and weight not in tables]
    undecayed = [weight for weight in model.parameters() if weight.dim() == 1 or weight in tables]
    groups = [{"params": model.embedding.parameters()}, {"params": undecayed, "weight_decay": 0.0}]
    return [
        Muon(matrices, learning_rate),
        torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.1, fused=True),
    ]


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What a run was begun with and keeps, beside its Config."""

    learning_rate: float = 3e-3
    warm_up: int = 50  # steps
    batch: int = 16  # windows of a step
    seed: int = 1
    decay_from: int = -1  # the step at which the learning rate begins to fall; -1: never
    decay_steps: int = 0

    def share(self, step, begun):
        """Of the learning rate, in a run that began at the step `begun`: a linear warm-up, then all of it, then down to
        zero as 1 - sqrt."""
        if 0 <= self.decay_from:
            return 1 - math.sqrt(min(1.0, (step - self.decay_from) / self.decay_steps))
        return min(1.0, (step - begun + 1) / self.warm_up)


def write_whole(path, write):
    """Never leaves half a file at `path`: what was there stays until the new one is complete."""
    unfinished = path.with_suffix(".tmp")
    write(unfinished)
    os.replace(unfinished, path)


class Corpus:
    """What scripts/corpus.py wrote, on the device."""

    def __init__(self, folder, seq_len, device):
        self.tokenizer_json = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self.vocab = vocabulary(self.tokenizer_json)[0]
        end_of_text = self.vocab.index(END_OF_TEXT)
        self.train, self.valid = (
            Windows(folder / f"{split}.npz", end_of_text, seq_len, device) for split in ("train", "valid")
        )
        made = folder / "made.npz"
        self.answers = Answers(made, end_of_text, seq_len, device) if made.exists() else None


class Run:
    """A model in training, with all that it needs to go on after an interruption as if there had been none."""

    def __init__(self, folder, corpus, config, schedule, device, beginning=None, answer_weight=1.0):
        """Goes on from the checkpoint of the folder, or begins: with the state `beginning`, or from nothing."""
        self.folder, self.corpus, self.config, self.schedule, self.device = folder, corpus, config, schedule, device
        self.answer_weight = answer_weight
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "checkpoint.pt"
        state = torch.load(self.path, map_location=device, weights_only=True) if self.path.exists() else beginning
        if self.path.exists():
            for name, ours in (("config", config), ("schedule", schedule)):
                if type(ours)(**state[name]) != ours:
                    raise SystemExit(f"{self.path}: was begun with {state[name]}, not with {dataclasses.asdict(ours)}")
        if state and state["tokenizer_json"] != corpus.tokenizer_json:
            raise SystemExit(f"{folder}: its training had another tokenizer than this corpus")
        torch.manual_seed(schedule.seed)
        self.model = Transformer(config).to(device)
        self.optimizers = optimizers_for(self.model, schedule.learning_rate)
        self.step, self.begun, self.seconds, self.rows = 0, 0, 0.0, []
        if state:
            self.model.load_state_dict(state["model"])
            for optimizer, its_state in zip(self.optimizers, state["optimizers"]):
                optimizer.load_state_dict(its_state)
            self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]
            self.begun = state.get("begun", 0)
        self.compiled_loss = torch.compile(self.loss, dynamic=False)

    def logits(self, ids):
        # Processors without bf16 matrix units lose by it.
        cuda = self.device == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            return self.model(ids)

    def loss(self, ids, targets, in_answer):
        """(loss of a token, the same with the answers' weight)"""
        losses = F.cross_entropy(self.logits(ids).float().flatten(0, 1), targets.flatten(), reduction="none")
        weights = 1 + (self.answer_weight - 1) * in_answer.flatten()
        return losses.mean(), (losses * weights).sum() / weights.sum()

    def train_step(self):
        """The loss before the step."""
        learning_rate = self.schedule.learning_rate * self.schedule.share(self.step, self.begun)
        windows = self.corpus.train.random(self.schedule.batch, (self.schedule.seed, self.step))
        loss, weighted = self.compiled_loss(*windows)
        weighted.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate
            optimizer.step()
            optimizer.zero_grad()
        self.model.constrain()
        self.step += 1
        return loss.detach()

    def advance(self, n_steps, valid_windows):
        """Trains, evaluates and saves."""
        begun, total = time.monotonic(), 0.0
        for _ in range(n_steps):
            total = total + self.train_step()
        train_loss = float(total) / n_steps
        self.seconds += time.monotonic() - begun
        row = {
            "step": self.step,
            "tokens": self.step * self.schedule.batch * self.config.seq_len,
            "minutes": round(self.seconds / 60, 2),
            "learning_rate": round(self.schedule.learning_rate * self.schedule.share(self.step - 1, self.begun), 7),
            "train_loss": round(train_loss, 4),
            **self.evaluate(valid_windows),
        }
        self.rows.append(row)
        self.save()
        return row

    @torch.no_grad()
    def evaluate(self, valid_windows):
        windows = self.corpus.valid.spread(valid_windows)
        batches = zip(*(part.split(self.schedule.batch) for part in windows))
        total = sum(self.loss(*batch)[0].item() * len(batch[0]) for batch in batches)
        losses = {"valid_loss": round(total / len(windows[0]), 4)}
        if self.corpus.answers:
            right = self.corpus.answers.share_right(self.logits, valid_windows, self.schedule.batch)
            losses["answers_right"] = round(right, 4)
        return losses

    def state(self):
        return {
            "config": dataclasses.asdict(self.config),
            "schedule": dataclasses.asdict(self.schedule),
            "tokenizer_json": self.corpus.tokenizer_json,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "begun": self.begun,
            "seconds": self.seconds,
            "rows": self.rows,
        }

    def save(self):
        write_whole(self.path, lambda path: torch.save(self.state(), path))
        write_whole(self.folder / "loss.csv", lambda path: write_csv(path, self.rows))

    def train_until(self, step, every, valid_windows):
        while self.step < step:
            row = self.advance(min(every, step - self.step), valid_windows)
            print("  ".join([self.folder.name, *(f"{name} {value}" for name, value in row.items())]), flush=True)


@torch.no_grad()
def exported(path, config, corpus):
    """The state of a run that goes on from a model that `export` wrote, with the loss beside it."""
    import gguf  # here, so that training does without it

    reader = gguf.GGUFReader(path)
    if reader.get_field("tokenizer.ggml.tokens").contents() != corpus.vocab:
        raise SystemExit(f"{path}: its training had another tokenizer than this corpus")
    positions = ("longhand.position.type", config.keys.get("position.type"))
    for key, expected in (("general.architecture", config.architecture), positions):
        field = reader.get_field(key)
        if (found := field.contents() if field else None) != expected:
            raise SystemExit(f"{path}: {key} is {found}, expected {expected}")
    stored = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}
    model = Transformer(config)
    for name, weight, scale in model.tensors():
        if name not in stored or stored[name].size != weight.numel():
            raise SystemExit(f"{path}: no tensor {name} of shape {tuple(weight.shape)}")
        weight.copy_(torch.tensor(stored[name]).reshape(weight.shape) / scale)
    losses = path.with_suffix(".csv")
    if not losses.exists():
        raise SystemExit(f"{losses}: not there; `export` wrote it beside {path}, and it tells how far the training was")
    with open(losses, encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    step = int(rows[-1]["step"])
    return {
        "tokenizer_json": corpus.tokenizer_json, "model": model.state_dict(), "optimizers": [], "step": step,
        "begun": step, "seconds": 60 * float(rows[-1]["minutes"]), "rows": rows,
    }


def prepare(options):
    """The device, with what is to be set once."""
    torch.set_float32_matmul_precision("high")
    torch._dynamo.config.suppress_errors = True  # where it cannot compile (no C++ compiler, say) it trains uncompiled
    torch._dynamo.config.cache_size_limit = 64  # a model each of a family
    if options.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return options.device


def given(options, names):
    return {name: getattr(options, name) for name in names if hasattr(options, name)}


def train(options):
    device = prepare(options)
    n_tokens = len(vocabulary((options.corpus_dir / "tokenizer.json").read_text(encoding="utf-8"))[0])
    config = Config(vocab_size=n_tokens, **given(options, SHAPE_OPTIONS))
    corpus = Corpus(options.corpus_dir, config.seq_len, device)
    schedule = Schedule(**given(options, SCHEDULE_OPTIONS))
    beginning = exported(options.begin_with, config, corpus) if options.begin_with else None
    run = Run(options.run_dir, corpus, config, schedule, device, beginning, options.answer_weight)
    n_weights = sum(weight.numel() for weight in run.model.parameters())
    n_tokens = len(corpus.train.ids)
    print(f"{n_weights / 1e6:.2f} M weights, {n_tokens / 1e6:.2f} M tokens, {device}, from step {run.step}")
    run.train_until(options.steps, options.eval_every, options.valid_windows)


def decayed(folder, new_folder, corpus, n_steps, device, answer_weight=1.0):
    """The run that branches off from the one in `folder`, or goes on if it has begun."""
    path = (new_folder if (new_folder / "checkpoint.pt").exists() else folder) / "checkpoint.pt"
    state = torch.load(path, map_location=device, weights_only=True)
    schedule = Schedule(**state["schedule"])
    if schedule.decay_from < 0:
        schedule = dataclasses.replace(schedule, decay_from=state["step"], decay_steps=n_steps)
    return Run(new_folder, corpus, Config(**state["config"]), schedule, device, state, answer_weight)


def seq_len_of(folder):
    """Of the run in it."""
    return torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)["config"]["seq_len"]


def decay(options):
    device = prepare(options)
    corpus = Corpus(options.corpus_dir, seq_len_of(options.run_dir), device)
    run = decayed(options.run_dir, options.new_run_dir, corpus, options.steps, device, options.answer_weight)
    run.train_until(run.schedule.decay_from + run.schedule.decay_steps, options.eval_every, options.valid_windows)


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
    for special in (END_OF_TEXT, TURN_START, TURN_END):
        if special in tokens:
            token_types[tokens.index(special)] = gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(token_types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(end_of_text)
    writer.add_eos_token_id(end_of_text)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    if TURN_END in tokens:
        writer.add_eot_token_id(tokens.index(TURN_END))
        writer.add_chat_template(CHAT_TEMPLATE)
        writer.add_string("longhand.summarize.wording", "report")  # that of scripts/documents.py

    for name, weight, scale in model.tensors():
        tensor_type = matrix_type if fills_blocks(name, weight) else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quantize((weight * scale).detach().numpy(), tensor_type), raw_dtype=tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    write_csv(options.out.with_suffix(".csv"), checkpoint["rows"])
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB, from step {checkpoint['step']}")


# What a model and its training can be told to be, with their defaults.
SHAPE_OPTIONS = {field.name: field for field in dataclasses.fields(Config) if field.name != "vocab_size"}
SCHEDULE_OPTIONS = {field.name: field for field in dataclasses.fields(Schedule) if "decay" not in field.name}


def add_fields(group, fields):
    for name, field in fields.items():
        group.add_argument(
            f"--{name.replace('_', '-')}", type=field.type, default=argparse.SUPPRESS,
            metavar="VALUE", help=f"{field.default} unless told",
        )


def add_common(command):
    command.add_argument("--eval-every", type=int, default=100, help="steps, then saves; %(default)s unless told")
    command.add_argument("--valid-windows", type=int, default=64, help="of an evaluation, %(default)s unless told")
    command.add_argument(
        "--answer-weight", type=float, default=1.0, metavar="W",
        help="in the loss, of a token of a made-up document's answer to one of any other; %(default)s unless told",
    )
    command.add_argument("--device", default="auto", help="cpu, cuda, or auto: cuda where there is one")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("corpus_dir", type=Path)
    command.add_argument("run_dir", type=Path)
    command.add_argument("--steps", type=int, required=True, help="to train until, in all")
    command.add_argument("--begin-with", type=Path, metavar="MODEL.gguf", help="where RUN_DIR has no checkpoint yet")
    add_common(command)
    add_fields(command.add_argument_group("what a run keeps to"), {**SHAPE_OPTIONS, **SCHEDULE_OPTIONS})

    command = commands.add_parser("decay")
    command.set_defaults(run=decay)
    command.add_argument("corpus_dir", type=Path)
    command.add_argument("run_dir", type=Path)
    command.add_argument("new_run_dir", type=Path)
    command.add_argument("--steps", type=int, required=True, help="to train on, with a learning rate that falls")
    add_common(command)

    command = commands.add_parser("export")
    command.set_defaults(run=export)
    command.add_argument("run_dir", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("--type", choices=("q8_0", "f16", "f32"), default="q8_0", help="of the matrices")

    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
