#!/usr/bin/env python3
"""Trains a tiny model under every position scheme, exports it, holds longhand against PyTorch, prints a Markdown table.

    make build/logits && scripts/check_training.py [SCHEME ...]      all of POSITIONS, or only some; about a minute
    scripts/check_training.py --fixture tests/data/positions         writes one with its logits, for `make check`

For each scheme, scripts/train.py trains on a text whose every character follows from the one before it and the third
before it, and exports the model. The columns; differences are the largest, as shares of the largest number:

    fast form     of attention, with random parameters: its difference from the brute force of scripts/positions.py
    first, last   training loss over the first and the last steps, in nats a character
    F32, Q8_0     difference of longhand's logits, on the exported file of that type, from those of PyTorch
    without       what PyTorch's logits change by if nothing is known of positions

Exits with 1 if a difference is larger than TOLERANCE (LARGEST_Q8_0 for Q8_0), a loss does not fall by LEAST_FALL, or a
scheme makes no difference of LEAST_EFFECT.
"""

import os

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling takes longer than these runs

import argparse  # noqa: E402
import contextlib  # noqa: E402
import csv  # noqa: E402
import io  # noqa: E402
import json  # noqa: E402
import string  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

import train  # noqa: E402
from fast_positions import SCHEMES  # noqa: E402
from positions import Pairs, Weight  # noqa: E402
from report import ROOT, longhand_logits, write_expected  # noqa: E402

TOLERANCE = 1e-5
LARGEST_Q8_0 = 0.05
LEAST_FALL = 0.5
LEAST_EFFECT = 1e-3
N_STEPS = 40
POSITIONS = [*SCHEMES, "rope,none", "sinusoidal,t5", "learned,alibi", "disentangled,transformer-xl"]
SHAPE = {
    "seq_len": 96, "dim": 64, "hidden_dim": 96, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2,
}
CHARACTERS = string.ascii_letters


def write_corpus(folder):
    """As scripts/corpus.py does, of one character a token."""
    tokens = [train.END_OF_TEXT, *CHARACTERS]
    tokenizer = {"model": {"vocab": {token: i for i, token in enumerate(tokens)}, "merges": []}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    rng = np.random.default_rng(1)
    followers = rng.integers(1, len(tokens), size=(len(tokens), 2))
    for split, n in (("train", 100_000), ("valid", 5_000)):
        ids = rng.integers(1, len(tokens), size=n)
        for i in range(3, n):
            ids[i] = followers[ids[i - 1], ids[i - 3] % 2]
        np.savez(folder / f"{split}.npz", ids=ids.astype(np.uint16), starts=np.arange(0, n, 50),
                 answers=np.array([[20, 30], [70, 85]]))


# --- Fast against brute force -----------------------------------------------------------------------------------------


def random_scheme(position, layer):
    """With parameters that make a difference, of the first or the second layer."""
    config = train.Config(vocab_size=len(CHARACTERS) + 1, position=position, **SHAPE)
    attention = train.Transformer(config).layers[layer].attention
    scheme = train.Transformer(config).layers[layer].position
    for parameter in scheme.parameters():
        parameter.normal_(std=0.25)
    for tensor in scheme.modules():
        if isinstance(tensor, Weight):
            tensor.weight.copy_(tensor.draw(tensor.weight))
    return config, attention, scheme


def brute_force(scheme, q, k, v, attention):
    """(h, i, d) of one window, in double precision."""
    n = q.size(1)
    query, key = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    pairs = Pairs(query, key, key <= query)
    k, v = (x.repeat_interleave(len(q) // len(k), 0) for x in (k, v))
    scores = scheme.scores(q, k, pairs, attention).masked_fill(~pairs.visible, -torch.inf)
    return scheme.mix(scores.softmax(-1), v, pairs)


def share_of_largest(ours, theirs):
    return float(abs(ours - theirs).max() / abs(theirs).max())


def fast_difference(position):
    differences = []
    for layer in range(SHAPE["n_layers"]):
        config, attention, scheme = random_scheme(position, layer)
        q, k, v = (
            torch.randn(3, n_heads, config.seq_len, config.head_dim)
            for n_heads in (config.n_heads, config.n_kv_heads, config.n_kv_heads)
        )
        fast = scheme.attention(q, k, v, attention)
        added = scheme.added_embedding()
        scheme.double(), attention.double()
        windows = zip(q.double(), k.double(), v.double())
        brute = torch.stack([brute_force(scheme, *window, attention) for window in windows])
        differences.append(share_of_largest(fast, brute))
        if added is not None:
            differences.append(share_of_largest(added / scheme.unit, scheme.embedding(torch.arange(config.seq_len))))
    return max(differences)


# --- Runs -------------------------------------------------------------------------------------------------------------


def run(*arguments):
    with contextlib.redirect_stdout(io.StringIO()):
        train.main([str(argument) for argument in arguments])


def losses(corpus, run_dir, position):
    """Mean training loss of the first and the last steps."""
    shape = [word for name, value in SHAPE.items() for word in (f"--{name.replace('_', '-')}", value)]
    run(
        "train", corpus, run_dir, "--position", position, *shape, "--steps", N_STEPS, "--batch", 16, "--eval-every", 5,
        "--valid-windows", 16, "--learning-rate", 1e-2,
    )
    with open(run_dir / "loss.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return float(rows[0]["train_loss"]), float(rows[-1]["train_loss"])


@torch.no_grad()
def torch_logits(run_dir, ids, **changes):
    checkpoint = torch.load(run_dir / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = train.Transformer(train.Config(**{**checkpoint["config"], **changes}))
    model.load_state_dict(checkpoint["model"], strict=not changes)
    return model(ids[None])[0].numpy()


def some_ids(n):
    return torch.randint(len(CHARACTERS) + 1, (n,), generator=torch.Generator().manual_seed(2))


def exported_logits(run_dir, ids, weight_type, program):
    model = run_dir / f"{weight_type}.gguf"
    run("export", run_dir, model, "--type", weight_type)
    return longhand_logits(model, ids.tolist(), program)


def check(position, corpus, run_dir, program):
    """A row of the table, and whether all is well."""
    with torch.no_grad():
        fast = fast_difference(position)
    first, last = losses(corpus, run_dir, position)
    ids = some_ids(SHAPE["seq_len"])
    ours = [exported_logits(run_dir, ids, weight_type, program) for weight_type in ("f32", "q8_0")]
    ours.append(torch_logits(run_dir, ids, position="none"))
    theirs = torch_logits(run_dir, ids)
    f32, q8_0, without = (share_of_largest(logits, theirs) for logits in ours)
    row = f"| {position} | {fast:.1e} | {first:.2f} | {last:.2f} | {f32:.1e} | {q8_0:.1e} | {without:.1e} |"
    exact = max(fast, f32) <= TOLERANCE and q8_0 <= LARGEST_Q8_0
    return row, exact and first - last >= LEAST_FALL and (without >= LEAST_EFFECT or position == "none")


def weighted_difference(folder):
    """Of a run's weighted loss from the same summed up token by token: answers as the corpus says, windows as they
    begin."""
    corpus, weight = train.Corpus(folder, SHAPE["seq_len"], "cpu"), 5.0
    config = train.Config(vocab_size=len(CHARACTERS) + 1, position="rope", **SHAPE)
    run = train.Run(folder / "weighted", corpus, config, train.Schedule(), "cpu", answer_weight=weight)
    with np.load(folder / "train.npz") as split:
        ids, starts, answers = split["ids"].astype(int), split["starts"], split["answers"]
    ours = run.loss(*corpus.train.at(starts[:3]))[1].item()
    total = weights = 0.0
    for start in starts[:3]:
        inputs = torch.tensor([[0, *ids[start : start + SHAPE["seq_len"] - 1]]])  # <|endoftext|> is token 0
        log_shares = run.model(inputs)[0].log_softmax(-1)
        for i in range(SHAPE["seq_len"]):
            in_answer = any(first <= start + i < end for first, end in answers)
            total -= (weight if in_answer else 1) * log_shares[i, ids[start + i]].item()
            weights += weight if in_answer else 1
    return abs(ours - total / weights)


def write_fixture(corpus, run_dir, folder):
    """A model that was trained and exported, with PyTorch's logits, as tests/model/test_schemes.c reads it. Its schemes
    have all that an export knows: a unit of its own, an added embedding, a tensor that layers share."""
    SHAPE.update({"dim": 32, "hidden_dim": 64})
    first, last = losses(corpus, run_dir, "sinusoidal,t5")
    ids = some_ids(SHAPE["seq_len"])
    run("export", run_dir, folder / "trained.gguf", "--type", "f32")
    (folder / "trained.csv").unlink()
    write_expected(folder / "trained.expected", ids.numpy(), torch_logits(run_dir, ids))
    print(f"{folder}/trained: loss from {first:.2f} to {last:.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("positions", nargs="*", metavar="SCHEME", help=f"{', '.join(POSITIONS)}, or any mix of two")
    parser.add_argument("--logits", type=Path, default=ROOT / "build" / "logits", help="the program, %(default)s")
    parser.add_argument("--fixture", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.fixture:
        with tempfile.TemporaryDirectory() as folder:
            write_corpus(Path(folder))
            write_fixture(Path(folder), Path(folder, "run"), options.fixture)
        return

    print("| scheme | fast form | first | last | F32 | Q8_0 | without |\n|---|---:|---:|---:|---:|---:|---:|")
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder))
        if (difference := weighted_difference(Path(folder))) > 1e-5:
            failed.append(f"the loss with weighted answers (off by {difference:.1e})")
        for number, position in enumerate(options.positions or POSITIONS):
            row, well = check(position, Path(folder), Path(folder, str(number)), options.logits)
            print(row, flush=True)
            if not well:
                failed.append(position)
    if failed:
        raise SystemExit(f"not as it should be: {', '.join(failed)}")


if __name__ == "__main__":
    main()
