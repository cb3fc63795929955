"""The engines that compare.py holds side by side: each gives prompt(n) and generate(n, depth), in tokens a second."""

import ctypes
import json
import os
import shlex
import subprocess
import sys
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

    def go_to(self, depth):
        """Has the first `depth` tokens of a text in the cache."""
        if self.position > depth:
            llama_cpp.llama_memory_seq_rm(llama_cpp.llama_get_memory(self.context), 0, depth, -1)
            self.position = depth
        while self.position < depth:
            self.feed([1] * min(BATCH, depth - self.position))

    def prompt(self, n):
        self.forget()
        start = time.perf_counter()
        self.go_to(n)
        return n / (time.perf_counter() - start)

    def generate(self, n, depth):
        self.go_to(depth)
        start = time.perf_counter()
        for _ in range(n):
            self.feed([1])
        return n / (time.perf_counter() - start)

    def tokenize(self, text):
        data = text.encode()
        ids = (llama_cpp.llama_token * (len(data) + 2))()  # at most one a byte, beginning of text, leading space
        n_ids = llama_cpp.llama_tokenize(self.vocab, data, len(data), ids, len(ids), True, False)
        return ids[:n_ids]


class Longhand:
    """`longhand bench`, one process a figure."""

    def __init__(self, path, threads, isa=None):
        self.command = [ROOT / "longhand", "bench", "-m", path, "-t", str(threads), "-r", "1", "--json"]
        self.command += ["--isa", isa] if isa else []
        self.share = {}  # of the machine's limit, by test

    def bench(self, *test):
        result = subprocess.run([*self.command, *test], check=True, stdout=subprocess.PIPE)
        figures = json.loads(result.stdout)
        self.share[test] = figures["share_of_limit"]
        return figures["tokens_per_second"]

    def prompt(self, n):
        return self.bench("--prompt-tokens", str(n), "--new-tokens", "0")

    def generate(self, n, depth):
        return self.bench("--prompt-tokens", "0", "--new-tokens", str(n), "--depth", str(depth))


class LlamaBench:
    """A llama-bench program, of llama.cpp or a relative; `command` may bring flags of its own."""

    def __init__(self, command, path, threads):
        self.command = [*shlex.split(command), "-m", path, "-t", str(threads), "-r", "1", "-o", "json"]
        usage = subprocess.run([*shlex.split(command)[:1], "--help"], stdout=subprocess.PIPE, check=False, text=True)
        self.after_prompt = "-gp <" in usage.stdout  # how generation at a depth is asked for

    def bench(self, *test):
        result = subprocess.run([*self.command, *test], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return json.loads(result.stdout)[-1]["avg_ts"]

    def prompt(self, n):
        return self.bench("-p", str(n), "-n", "0")

    def generate(self, n, depth):
        if depth == 0:
            return self.bench("-p", "0", "-n", str(n))
        if self.after_prompt:
            return self.bench("-p", "0", "-n", "0", "-gp", f"{depth},{n}")
        return self.bench("-p", "0", "-n", str(n), "-d", str(depth))
