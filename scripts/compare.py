#!/usr/bin/env python3
"""Holds longhand against llama.cpp on the same model files and prints a Markdown table.

    scripts/compare.py MODEL.gguf ... [--text FILE]     do both expect the same next tokens?
    scripts/compare.py MODEL.gguf ... --speed           how fast is each?

Both engines get the same token ids, so that only the transformer is compared. llama.cpp is driven through the low-level
calls of llama-cpp-python. Of longhand, `make all build/logits` must have built

    build/logits MODEL IDS OUT        little-endian int32 ids in, float32 logits of shape (ids, vocabulary) out
    longhand bench ... --json         one JSON object a test, with its tokens_per_second
"""

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import llama_cpp
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BATCH = 512  # tokens llama.cpp takes at once; its default for a physical batch
F32, F16 = 0, 1  # ggml's numbers of the cache types

LOG_ERROR = 4  # ggml's number


@llama_cpp.llama_log_callback
def log(level, text, user_data):
    if level == LOG_ERROR:
        sys.stderr.write(text.decode())


llama_cpp.llama_log_set(log, None)


class LlamaCpp:
    """One model file with one timeline of at most n_ctx tokens."""

    def __init__(self, path, n_ctx, threads=1, flash_attention=False, cache_type=F32):
        self.model = llama_cpp.llama_model_load_from_file(os.fsencode(path), llama_cpp.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"{path}: llama.cpp does not load it")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

        params = llama_cpp.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = BATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = int(flash_attention)
        params.type_k = params.type_v = cache_type
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        self.position = 0

        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        for i in range(BATCH):  # every token belongs to sequence 0
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
        self.token, self.pos, self.wants_logits = (
            np.ctypeslib.as_array(array, shape=(BATCH,))
            for array in (self.batch.token, self.batch.pos, self.batch.logits)
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def forget(self):
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.position = 0

    def feed(self, ids, all_logits=False):
        """Takes up to BATCH ids and computes the logits of each of them, or only of the last one."""
        n = len(ids)
        self.batch.n_tokens = n
        self.token[:n] = ids
        self.pos[:n] = np.arange(self.position, self.position + n)
        self.wants_logits[:n] = all_logits
        self.wants_logits[n - 1] = True
        if llama_cpp.llama_decode(self.context, self.batch) != 0:
            raise SystemExit("llama.cpp: llama_decode failed")
        llama_cpp.llama_synchronize(self.context)
        self.position += n

    def logits(self, ids):
        """(len(ids), vocabulary) logits of a text from its beginning."""
        n_vocab = llama_cpp.llama_vocab_n_tokens(self.vocab)
        rows = []
        self.forget()
        for i in range(0, len(ids), BATCH):
            batch = ids[i : i + BATCH]
            self.feed(batch, all_logits=True)
            logits = llama_cpp.llama_get_logits(self.context)
            rows.append(np.ctypeslib.as_array(logits, shape=(len(batch), n_vocab)).copy())
        return np.concatenate(rows)

    def speeds(self, n_prompt, n_generated):
        """Tokens a second of a prompt from an empty context, and of single tokens after it."""
        self.forget()
        start = time.perf_counter()
        for i in range(0, n_prompt, BATCH):
            self.feed([1] * min(BATCH, n_prompt - i))
        middle = time.perf_counter()
        for _ in range(n_generated):
            self.feed([1])
        end = time.perf_counter()
        return n_prompt / (middle - start), n_generated / (end - middle)

    def tokenize(self, text):
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 2))()  # at most one a byte, beginning of text, leading space
        n_ids = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        return ids[:n_ids]


def longhand_logits(model, ids, program=ROOT / "build" / "logits"):
    with tempfile.TemporaryDirectory() as folder:
        ids_path, logits_path = Path(folder, "ids"), Path(folder, "logits")
        np.array(ids, dtype="<i4").tofile(ids_path)
        subprocess.run([program, model, ids_path, logits_path], check=True)
        return np.fromfile(logits_path, dtype="<f4").reshape(len(ids), -1)


def log_probabilities(logits):
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def compare_predictions(options):
    print("| model | tokens | mean KL divergence | largest | same best token |")
    print("|---|---:|---:|---:|---:|")
    for model in options.models:
        with LlamaCpp(model, options.tokens, options.threads) as peer:
            ids = peer.tokenize(options.text.read_text(encoding="utf-8"))[: options.tokens]
            theirs = log_probabilities(peer.logits(ids))
        ours = log_probabilities(longhand_logits(model, ids))
        divergence = (np.exp(theirs) * (theirs - ours)).sum(axis=1)
        same_best = np.mean(theirs.argmax(axis=1) == ours.argmax(axis=1))
        mean, largest = divergence.mean(), divergence.max()
        print(f"| {model.stem} | {len(ids)} | {mean:.1e} | {largest:.1e} | {same_best:.1%} |", flush=True)


def longhand_speeds(model, options, n_prompt, n_generated):
    """The same two figures as LlamaCpp.speeds."""

    def bench(*tests):
        command = [ROOT / "longhand", "bench", "-m", model, "-t", str(options.threads), "-r", "1", "--json", *tests]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["tokens_per_second"]

    return (
        bench("--prompt-tokens", str(n_prompt), "--new-tokens", "0"),
        bench("--prompt-tokens", "0", "--new-tokens", str(n_generated), "--depth", str(n_prompt)),
    )


def compare_speed(options):
    """The engines take turns, so that a slow spell of the machine hits all of them; the medians are compared."""
    print("| model | | longhand | llama.cpp | with flash attention | longhand / best llama.cpp |")
    print("|---|---|---:|---:|---:|---:|")
    for model in options.models:
        n_prompt, n_generated = options.prompt_tokens, options.new_tokens
        n_ctx = n_prompt + n_generated
        longhand_speeds(model, options, n_prompt, n_generated)  # warms the page cache
        with (
            LlamaCpp(model, n_ctx, options.threads, cache_type=F16) as plain,
            LlamaCpp(model, n_ctx, options.threads, cache_type=F16, flash_attention=True) as flash,
        ):
            for peer in (plain, flash):
                peer.speeds(n_prompt, n_generated)  # its first run allocates
            runs = []
            for _ in range(options.runs):
                ours = longhand_speeds(model, options, n_prompt, n_generated)
                runs.append((ours, *(peer.speeds(n_prompt, n_generated) for peer in (plain, flash))))
        medians = np.median(runs, axis=0).T
        for what, (ours, plain, flash) in zip((f"prompt of {n_prompt}", f"{n_generated} generated"), medians):
            ratio = ours / max(plain, flash)
            print(f"| {model.stem} | {what} | {ours:.1f} | {plain:.1f} | {flash:.1f} | {ratio:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL")
    parser.add_argument("--text", type=Path, default=ROOT / "README.md", help="to predict, README.md unless told")
    parser.add_argument("--tokens", type=int, default=512, help="of the text, %(default)s unless told")
    parser.add_argument("--speed", action="store_true", help="measure tokens a second instead")
    parser.add_argument("--prompt-tokens", type=int, default=512, help="of the speed test, %(default)s unless told")
    parser.add_argument("--new-tokens", type=int, default=64, help="of the speed test, %(default)s unless told")
    parser.add_argument("--runs", type=int, default=5, help="of each engine, %(default)s unless told")
    parser.add_argument("--threads", type=int, default=2, help="%(default)s unless told")
    options = parser.parse_args()
    (compare_speed if options.speed else compare_predictions)(options)


if __name__ == "__main__":
    main()
