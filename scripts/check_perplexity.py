#!/usr/bin/env python3
"""Holds `longhand perplexity` against others on the same files, and prints a line a comparison.

    scripts/check_perplexity.py [--tool LLAMA_PERPLEXITY] [--model MODEL.gguf ...] [--text FILE]

llama.cpp: its definition (the second half of every chunk) on its own logits and tokens, by llama-cpp-python; --tool is
its program for the same, or that of a fork. transformers: the loop over windows that its pages recommend.
StreamingLLM: token by token, with a cache of keys that are turned anew to their places at every step, on the schemes of
positions.py. The last two on the small random models of tests/data. Ends with 1 where anything differs by more than is
allowed.
"""

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from position_fixtures import FIXTURES
from positions import Pairs, Transformer

transformers.utils.logging.disable_progress_bar()

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
PROGRAM = ROOT / "longhand"
CHUNK = 512


def longhand(*arguments):
    """The loss of the whole text, in nats, and how many tokens it is the mean of."""
    command = [PROGRAM, "perplexity", "--json", *map(str, arguments)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    result = next(line for line in map(json.loads, lines) if line["whole"])
    return result["loss"], result["tokens"]


def longhand_ids(model, path):
    """With the beginning-of-text token, where the model's texts have one."""
    command = [PROGRAM, "tokenize", "-m", model, "-f", path, "--special", "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["ids"]


def losses(logits, targets):
    """(n) of logits (n, vocabulary), in double."""
    return F.cross_entropy(torch.as_tensor(np.asarray(logits)).double(), torch.tensor(targets), reduction="none")


class Comparisons:
    def __init__(self):
        self.failed = False

    def add(self, what, ours, theirs, allowed):
        """Losses; `allowed` is of the perplexity, relative."""
        difference = abs(math.expm1(ours - theirs))
        self.failed |= not difference <= allowed
        print(
            f"{what:<64} {math.exp(ours):12.5f} {math.exp(theirs):12.5f}   differ by {difference:.1e}, "
            f"allowed {allowed:.0e}{'' if difference <= allowed else '   TOO MUCH'}", flush=True,
        )


# --- llama.cpp --------------------------------------------------------------------------------------------------------


def llama_cpp_loss(model, text):
    import llama_cpp
    from compare import LlamaCpp

    with LlamaCpp(model, CHUNK, threads=2, cache_type=1) as peer:
        ids = peer.tokenize(text)
        adds_bos = llama_cpp.llama_vocab_get_add_bos(peer.vocab)
        found = []
        for begin in range(0, len(ids) - CHUNK + 1, CHUNK):
            chunk = ids[begin : begin + CHUNK]
            if adds_bos:
                chunk[0] = llama_cpp.llama_vocab_bos(peer.vocab)
            found.append(losses(peer.logits(chunk)[CHUNK // 2 : -1], chunk[CHUNK // 2 + 1 :]))
    return torch.cat(found)


def compare_llama_cpp(comparisons, model, path, tool):
    ours, n_ours = longhand("-m", model, "-f", path, "--like", "llama.cpp", "--lengths", CHUNK)
    theirs = llama_cpp_loss(model, path.read_text())
    if len(theirs) != n_ours:
        raise SystemExit(f"{model}: longhand scores {n_ours} tokens, llama.cpp {len(theirs)}")
    comparisons.add(f"{model.name}: llama.cpp's logits, {n_ours} tokens", ours, theirs.mean().item(), 1e-3)
    if tool:
        command = [tool, "-m", model, "-f", path, "-c", str(CHUNK), "-t", "2"]
        run = subprocess.run(command, capture_output=True, text=True)
        found = re.search(r"Final estimate: PPL.* = ([0-9.]+)", run.stdout + run.stderr)
        if found:
            comparisons.add(f"{model.name}: {Path(tool).name}", ours, math.log(float(found[1])), 1e-3)
        else:
            print(f"{model.name}: {Path(tool).name} does not run it")


# --- transformers -----------------------------------------------------------------------------------------------------


def windows_loss(model, ids, max_length, stride, bos):
    """https://huggingface.co/docs/transformers/perplexity, with each window's loss weighed by how many tokens it is the
    mean of, and the beginning-of-text token, where there is one, in front of each window."""
    total, n, before = 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + max_length, len(ids))
        window = torch.tensor([ids[begin:end]])
        if bos is not None:
            window[0, 0] = bos
        labels = window.clone()
        labels[:, : -(end - before)] = -100
        with torch.no_grad():
            loss = model(window, labels=labels).loss
        scored = (labels[:, 1:] != -100).sum().item()
        total, n, before = total + loss.item() * scored, n + scored, end
        if end == len(ids):
            return total / n, n


def compare_transformers(comparisons, name, path, length, stride, n_windows):
    folder = DATA / "huggingface" / name
    n = length + n_windows * stride
    ids = longhand_ids(folder, path)[: n + 1]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)
    bos = ids[0] if ids[0] == model.config.bos_token_id else None
    theirs, n_theirs = windows_loss(model, ids, length + 1, stride, bos)
    options = ["-m", folder, "-f", path, "-n", n, "--kv-type", "f32"]
    ours, n_ours = longhand(*options, "--mode", "sliding", "--lengths", length, "--stride", stride)
    if n_ours != n_theirs:
        raise SystemExit(f"{name}: longhand scores {n_ours} tokens, transformers {n_theirs}")
    comparisons.add(f"{name}: transformers, windows of {length} by {stride}", ours, theirs, 1e-5)


# --- StreamingLLM -----------------------------------------------------------------------------------------------------


def load_twin(name, path):
    """The model of a file of tests/data/positions, in double precision."""
    fixture = FIXTURES[name]
    tensors = {tensor.name: torch.from_numpy(np.array(tensor.data)) for tensor in gguf.GGUFReader(path).tensors}
    vocab_size = len(tensors["token_embd.weight"])
    twin = Transformer({**fixture.keys, "vocab_size": vocab_size}, fixture.shared, fixture.tied).double().eval()
    for tensor_name, parameter in twin.tensors():
        parameter.data = tensors[tensor_name].double().reshape(parameter.shape)
    return twin


class StreamingLayer:
    """One layer of Xiao et al. 2023 (arXiv:2309.17453): the cache keeps the first `sinks` and the last `window` keys,
    and a token's place is where it stands in the cache."""

    def __init__(self, layer, sinks, window):
        self.layer, self.sinks, self.window = layer, sinks, window
        self.keys, self.values = [], []

    def step(self, x):
        layer = self.layer
        h = layer.attn_norm(x)
        q, k, v = (w(h).unflatten(-1, (-1, 1, layer.head_dim)) for w in (layer.attn_q, layer.attn_k, layer.attn_v))
        self.keys.append(k.repeat_interleave(layer.group, 0))
        self.values.append(v.repeat_interleave(layer.group, 0))
        if len(self.keys) > self.sinks + self.window:
            del self.keys[self.sinks], self.values[self.sinks]
        places = torch.arange(len(self.keys))[None]
        pairs = Pairs(places[:, -1:].expand_as(places), places, torch.ones_like(places, dtype=torch.bool))
        scores = layer.position.scores(q, torch.cat(self.keys, 1), pairs, layer)
        mixed = layer.position.mix(scores.softmax(-1), torch.cat(self.values, 1), pairs)
        x = x + layer.attn_output(mixed.flatten())
        h = layer.ffn_norm(x)
        return x + layer.ffn_down(F.silu(layer.ffn_gate(h)) * layer.ffn_up(h))


@torch.no_grad()
def streaming_loss(twin, ids, sinks, window):
    layers = [StreamingLayer(layer, sinks, window) for layer in twin.blk]
    output = twin.output if hasattr(twin, "output") else twin.token_embd
    total = 0.0
    for token, target in zip(ids, ids[1:]):
        x = twin.token_embd.weight[token]
        for layer in layers:
            x = layer.step(x)
        logits = F.linear(twin.output_norm(x), output.weight)
        total += losses(logits[None], [target]).item()
    return total / (len(ids) - 1)


def compare_streaming(comparisons, name, path, sinks, window, n):
    model = DATA / "positions" / f"{name}.gguf"
    ids = longhand_ids(model, path)[: n + 1]
    theirs = streaming_loss(load_twin(name, model), ids, sinks, window)
    context = f"sinks={sinks},window={window}"
    ours, _ = longhand("-m", model, "-f", path, "-n", n, "--mode", "streaming", "--context", context, "--kv-type", "f32")
    comparisons.add(f"{name}: StreamingLLM, {context}, {n} tokens", ours, theirs, 1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", help="llama.cpp's llama-perplexity")
    parser.add_argument("--model", action="append", type=Path, help="for llama.cpp (default: small ones of the project)")
    parser.add_argument("--text", type=Path, help="the first 64 kB of it are used (default: README.md)")
    options = parser.parse_args()
    models = options.model or [ROOT / "models" / "longhand.gguf", *(DATA / f"{n}.gguf" for n in ("llama", "bloom", "mpt"))]
    comparisons = Comparisons()
    print(f"{'perplexity':<64} {'longhand':>12} {'the other':>12}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "text")
        path.write_bytes((options.text or ROOT / "README.md").read_bytes()[:65536].decode(errors="ignore").encode())
        for model in models:
            compare_llama_cpp(comparisons, model, path, options.tool)
        for length, stride in (64, 24), (64, 64), (100, 1):
            compare_transformers(comparisons, "llama", path, length, stride, n_windows=20)
        for name in ("rope", "rope-yarn", "alibi", "t5", "none"):
            compare_streaming(comparisons, name, path, sinks=4, window=28, n=400)
    sys.exit(comparisons.failed)


if __name__ == "__main__":
    main()
