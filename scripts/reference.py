#!/usr/bin/env python3
"""Makes the fixtures of tests/data from software that shares no code with longhand.

    scripts/reference.py [--out tests/data] [NAME ...]      all fixtures, or only these models (positions: all of those)

    NAME.gguf, NAME.expected   a tiny random model of each architecture and the logits transformers computes with it, in
                               double precision: int32 n_tokens, n_vocab; int32 ids[n_tokens]; float32
                               logits[n_tokens][n_vocab]; little-endian
    huggingface/NAME/          the same model as transformers saves it, in several files; of most only its config.json
    huggingface/NAME/*.json    of some a tokenizer, and tokens.expected.json: texts and what tokenizers makes of them
    llama-v2.gguf              llama.gguf as GGUF version 2
    llama-0000N-of-00003.gguf  llama.gguf in three shards
    positions/NAME.*           the same of longhand's own architecture with each position scheme, and the logits of
                               scripts/positions.py, which scripts/check_positions.py holds against the code of others
    formats.gguf               for each element format F, random blocks "F" and their values "F.expected" in F32
    quantize.gguf              "weights" in F32, llama.cpp's blocks of them as "F", its round-trip error as key "F.rmse"

llama.cpp must load every model of its own architectures and agree with transformers, so the files are laid out as those
in the world are. The largest differences from the logits in double precision are printed: of the same in float32, which
is the noise that an engine cannot avoid, of llama.cpp, and of a model without the position scheme.
"""

import argparse
import copy
import ctypes
import itertools
import json
import re
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import gguf
import llama_cpp
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Format
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.pre_tokenizers import ByteLevel
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor

import position_fixtures
from compare import ROOT, LlamaCpp
from positions import Transformer, add_keys
from report import write_expected

N_CTX = 128
N_TOKENS = 64
SPREAD = 0.25  # standard deviation of every weight, large enough for logits that are well apart
SMALLEST_MARGIN = 1e-3  # between the two best logits, as a share of the largest: no test may hang on a near tie
LARGEST_DIFFERENCE = 1e-2  # from llama.cpp, whose GELU is always the tanh form and read from a table in half precision

# --- Tokenizers: as small as a complete file allows -------------------------------------------------------------------

MERGES = ["Ġ t", "h e", "Ġt he", "i n", "e r", "a n", "o n", "r e", "an d", "Ġ a", "Ġ s", "in g", "e n", "o u"]
BPE_TOKENS = [
    *sorted(ByteLevel.alphabet()),  # GPT-2's order of the bytes
    *(merge.replace(" ", "") for merge in MERGES),
    "<|begin_of_text|>",
    "<|end_of_text|>",
]
PIECES = ["▁", *"etaoinshrdlu", *"he in er an re on en ou ▁t ▁a ▁s ▁o ▁i ▁the and ing".split()]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def add_bpe(writer, pre_tokenizer):
    begin, end = len(BPE_TOKENS) - 2, len(BPE_TOKENS) - 1
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre_tokenizer)
    writer.add_token_list(BPE_TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * begin + [gguf.TokenType.CONTROL] * 2)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(begin)
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(pre_tokenizer == "llama-bpe")


def spm_tokens(with_bytes):
    return ["<unk>", "<s>", "</s>", *(BYTES if with_bytes else []), *PIECES]


def add_spm(writer, with_bytes=True):
    """Without tokens for bytes, characters that no piece has are unknown, and the vocabulary is small."""
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    tokens = spm_tokens(with_bytes)
    n_bytes = len(tokens) - 3 - len(PIECES)
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (3 + n_bytes) + [-float(rank) for rank in range(len(PIECES))])
    writer.add_token_types(
        [gguf.TokenType.UNKNOWN]
        + [gguf.TokenType.CONTROL] * 2
        + [gguf.TokenType.BYTE] * n_bytes
        + [gguf.TokenType.NORMAL] * len(PIECES)
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)


# The same as Hugging Face's tokenizers library has them.

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
TEXTS = [
    "the rain in", " then and on", "The  hen\tran.\n\n   to the sea", "entire", "naïve 日本 ½ 12345", "it's IT'S",
    "<|end_of_text|>", "</s> the <s>", "the<sep>rain", "\r\n a ",
]


def spm_tokenizer():
    """Every way to make a piece from two is a merge, in the order of the pieces' scores."""
    pieces = [*PIECES[:-1], "g"]  # "ing" without "g" would be out of reach
    vocab = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *BYTES, *pieces])}
    splits = [(piece[:at], piece[at:]) for piece in pieces for at in range(1, len(piece))]
    merges = [(left, right) for left, right in splits if left in pieces and right in pieces]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    settings = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": "[INST] <<SYS>>"}
    return tokenizer, settings


def bpe_tokenizer():
    vocab = {token: i for i, token in enumerate(BPE_TOKENS[:-3])}
    merges = [tuple(merge.split()) for merge in MERGES[:-1]]
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"), ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_tokens([AddedToken("<sep>", normalized=False)])  # in place of the last merge
    tokenizer.add_special_tokens(BPE_TOKENS[-2:])
    begin = BPE_TOKENS[-2]
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(f"{begin} $A", special_tokens=[(begin, tokenizer.token_to_id(begin))]),
    ])
    settings = {"bos_token": begin, "eos_token": BPE_TOKENS[-1], "chat_template": [
        {"name": "tool_use", "template": "no"}, {"name": "default", "template": "<|start_header_id|>, <|eot_id|>"},
    ]}
    return tokenizer, settings


def save_tokenizer(folder, tokenizer, settings):
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    tokenizer.encode_special_tokens = True  # in a text their names are text
    expected = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in TEXTS]
    lines = ",\n".join(json.dumps(line) for line in expected)
    (folder / "tokens.expected.json").write_text(f'{{"texts": [\n{lines}\n]}}\n')


# --- Architectures: what llama.cpp's converter writes for a transformers model ----------------------------------------


def llama_metadata(writer, config):
    family_metadata(writer, config)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)


def family_metadata(writer, config):
    """What llama, qwen2 and qwen3 have in common."""
    attention_metadata(writer, config, config.rope_parameters["rope_theta"])


def attention_metadata(writer, config, rope_base):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(rope_base)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    if head_dim := getattr(config, "head_dim", None):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)


def mistral_metadata(writer, config):
    llama_metadata(writer, config)
    writer.add_sliding_window(config.sliding_window)


def gemma3_metadata(writer, config):
    whole = config.rope_parameters["full_attention"]
    attention_metadata(writer, config, whole["rope_theta"])
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(whole["factor"])
    writer.add_sliding_window(config.sliding_window)


def phi3_metadata(writer, config):
    rope = config.rope_parameters
    scale = config.max_position_embeddings / rope["original_max_position_embeddings"]
    attention_metadata(writer, config, rope["rope_theta"])
    writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    writer.add_rope_dimension_count(2 * len(rope["long_factor"]))
    writer.add_rope_scaling_attn_factors((1 + np.log(scale) / np.log(rope["original_max_position_embeddings"])) ** 0.5)
    writer.add_sliding_window(config.sliding_window or 0)


def cohere2_metadata(writer, config):
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_eps(config.layer_norm_eps)
    writer.add_logit_scale(config.logit_scale)
    writer.add_sliding_window(config.sliding_window)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


def gptneox_metadata(writer, config):
    head_dim = config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(int(config.rope_parameters["partial_rotary_factor"] * head_dim))
    writer.add_head_count(config.num_attention_heads)
    writer.add_parallel_residual(config.use_parallel_residual)
    writer.add_layer_norm_eps(config.layer_norm_eps)


def gpt2_metadata(writer, config):
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(4 * config.n_embd)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def bloom_metadata(writer, config):
    writer.add_context_length(N_CTX)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(4 * config.hidden_size)
    writer.add_head_count(config.n_head)
    writer.add_head_count_kv(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def mpt_metadata(writer, config):
    writer.add_context_length(config.max_seq_len)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(4 * config.d_model)
    writer.add_head_count(config.n_heads)
    writer.add_layer_norm_eps(1e-5)
    writer.add_clamp_kqv(config.attn_config.clip_qkv)
    writer.add_max_alibi_bias(config.attn_config.alibi_bias_max)


def interleave_halves(weight, n_heads):
    """Rows of a head from (first half, second half), as transformers rotates, to pairs side by side."""
    return weight.reshape(n_heads, 2, -1, weight.shape[-1]).swapaxes(1, 2).reshape(weight.shape)


def llama_layout(name, weight, config):
    if name.endswith("q_proj.weight"):
        return interleave_halves(weight, config.num_attention_heads)
    if name.endswith("k_proj.weight"):
        return interleave_halves(weight, config.num_key_value_heads)
    return weight


def split_qkv_layout(name, weight, config):
    """Rows of the fused projection from (head, q|k|v) to (q|k|v, head)."""
    if ".query_key_value." in name:
        return weight.reshape(config.num_attention_heads, 3, -1, *weight.shape[1:]).swapaxes(0, 1).reshape(weight.shape)
    return weight


def gpt2_layout(name, weight, config):
    """transformers keeps these matrices as (in, out)."""
    return weight.T if re.search(r"\.c_(attn|proj|fc)\.weight$", name) else weight


def gemma3_layout(name, weight, config):
    """transformers adds the 1 to the weights of norms when it uses them."""
    return weight + 1 if name.endswith("norm.weight") else weight


def same_layout(name, weight, config):
    return weight


@dataclass
class Architecture:
    name: str  # in general.architecture
    config: transformers.PreTrainedConfig
    metadata: Callable
    layout: Callable
    pre_tokenizer: str | None  # of a BPE tokenizer; None: SentencePiece
    n_peer_tokens: int = N_TOKENS  # whose logits llama.cpp computes, too: it leaves out some windows


BPE = {"vocab_size": len(BPE_TOKENS)}
SPM = {"vocab_size": len(spm_tokens(with_bytes=True))}
WINDOW = 24  # less than half of the text


def phi3(train_length, original_length, window):
    """Six of eight dimensions are turned; factors as LongRoPE has them: rising with the pair, those for short texts
    near 1."""
    return Architecture(
        "phi3",
        transformers.Phi3Config(
            **SPM, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=train_length,
            original_max_position_embeddings=original_length, rms_norm_eps=1e-3, sliding_window=window,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
            rope_parameters={
                "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
                "short_factor": [1.0, 1.125, 1.5], "long_factor": [1.25, 2.5, 6.0],
                "original_max_position_embeddings": original_length,
            },
        ),
        phi3_metadata, same_layout, None, n_peer_tokens=window or N_TOKENS,
    )


# Epsilons are far larger than in real models: a forgotten or a wrong one shows.
ARCHITECTURES = {
    "llama": Architecture(
        "llama",
        transformers.LlamaConfig(
            **SPM, hidden_size=32, intermediate_size=88, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=N_CTX, rms_norm_eps=1e-3,
            tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        llama_metadata, llama_layout, None,
    ),
    "llama3": Architecture(
        "llama",
        transformers.LlamaConfig(
            **BPE, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=N_CTX, rms_norm_eps=1e-3, tie_word_embeddings=True,
            # Eight wavelengths from 6 to 600000 tokens: some are kept, one is blended, the others are stretched.
            rope_parameters={
                "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
            },
        ),
        llama_metadata, llama_layout, "llama-bpe",
    ),
    "qwen2": Architecture(
        "qwen2",
        transformers.Qwen2Config(
            **BPE, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
            num_key_value_heads=2, max_position_embeddings=N_CTX, rms_norm_eps=1e-3, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        ),
        family_metadata, same_layout, "qwen2",
    ),
    "qwen3": Architecture(
        "qwen3",
        transformers.Qwen3Config(
            **BPE, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, max_position_embeddings=N_CTX, rms_norm_eps=1e-3,
            tie_word_embeddings=False, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        ),
        family_metadata, same_layout, "qwen2",
    ),
    "mistral": Architecture(
        "llama",
        transformers.MistralConfig(
            **SPM, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=N_CTX, rms_norm_eps=1e-3, sliding_window=WINDOW,
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        mistral_metadata, llama_layout, None, n_peer_tokens=WINDOW,
    ),
    "smollm3": Architecture(
        "smollm3",
        transformers.SmolLM3Config(
            **BPE, hidden_size=32, intermediate_size=56, num_hidden_layers=5, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=N_CTX, rms_norm_eps=1e-3,
            pad_token_id=0, bos_token_id=0, eos_token_id=0,
            rope_parameters={"rope_type": "default", "rope_theta": 5000000.0},
        ),
        llama_metadata, llama_layout, "llama-bpe",
    ),
    "cohere2": Architecture(
        "cohere2",
        transformers.Cohere2Config(
            **BPE, hidden_size=32, intermediate_size=56, logit_scale=0.25, num_hidden_layers=5,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=N_CTX, layer_norm_eps=1e-3,
            sliding_window=WINDOW, pad_token_id=0, bos_token_id=0, eos_token_id=0,
            rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
        ),
        cohere2_metadata, same_layout, "llama-bpe",
    ),
    "gemma3": Architecture(
        "gemma3",
        transformers.Gemma3TextConfig(
            **SPM, hidden_size=32, intermediate_size=56, num_hidden_layers=7, num_attention_heads=4,
            num_key_value_heads=2, head_dim=12, query_pre_attn_scalar=12, max_position_embeddings=N_CTX,
            rms_norm_eps=1e-3, sliding_window=WINDOW, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            },
        ),
        gemma3_metadata, gemma3_layout, None,
    ),
    # A model named Phi-3 must have Phi-3's own tokens, says llama.cpp.
    "phi-short": phi3(8 * N_CTX, original_length=2 * N_CTX, window=WINDOW),
    "phi-long": phi3(N_CTX, original_length=N_TOKENS // 2, window=None),
    **{
        name: Architecture(
            "gptneox",
            transformers.GPTNeoXConfig(
                **BPE, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=3,
                max_position_embeddings=N_CTX, layer_norm_eps=1e-3, use_parallel_residual=parallel,
                rope_parameters={"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
            ),
            gptneox_metadata, split_qkv_layout, "mpt",
        )
        for name, parallel in (("gptneox", True), ("gptneox-sequential", False))
    },
    "gpt2": Architecture(
        "gpt2",
        transformers.GPT2Config(
            **BPE, n_positions=N_CTX, n_embd=40, n_layer=2, n_head=5, layer_norm_epsilon=1e-3,
            bos_token_id=None, eos_token_id=None,
        ),
        gpt2_metadata, gpt2_layout, "gpt-2",
    ),
    "bloom": Architecture(
        "bloom",
        transformers.BloomConfig(**BPE, hidden_size=48, n_layer=2, n_head=6, layer_norm_epsilon=1e-3),
        bloom_metadata, split_qkv_layout, "bloom",
    ),
    "mpt": Architecture(
        "mpt",
        transformers.MptConfig(
            **BPE, d_model=48, n_heads=6, n_layers=2, max_seq_len=N_CTX,
            attn_config={"clip_qkv": 2.0, "alibi": True, "alibi_bias_max": 12},
        ),
        mpt_metadata, same_layout, "mpt",
    ),
}


# --- Models -----------------------------------------------------------------------------------------------------------


@contextmanager
def double_precision():
    """transformers does norms, rotations and softmax in what it calls float32, whatever the model's type: here that is
    double, too."""
    with ExitStack() as patches:
        for name in ("float32", "float"):
            patches.enter_context(mock.patch.object(torch, name, torch.float64))
        patches.enter_context(mock.patch.object(torch.Tensor, "float", torch.Tensor.double))
        yield


def build_model(config, dtype):
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="eager").eval()
    if config.model_type == "mpt":  # whose transformers code forgets to pass this on
        bias_max = config.attn_config.alibi_bias_max
        model.transformer.build_mpt_alibi_tensor = partial(build_mpt_alibi_tensor, alibi_bias_max=bias_max)
    return model


def random_model(config, seed):
    model = build_model(config, torch.float32)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.data.normal_(std=SPREAD, generator=generator)
        if parameter.ndim == 1 and name.endswith(".weight") and config.model_type != "gemma3_text":  # of a norm
            parameter.data += 1
    return model


def logits_in_double(config, model, ids):
    with double_precision():
        exact = build_model(config, torch.float64)
        exact.load_state_dict(model.state_dict())
        return exact(ids[None]).logits[0].numpy()


def margins(logits):
    """How far each row's best logit is above its second."""
    best = np.sort(logits)[:, -2:]
    return best[:, 1] - best[:, 0]


def gguf_tensors(architecture, model):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[architecture.name.upper()], architecture.config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        # The map knows some architectures with and some without transformers' outermost name.
        stem, kind = name.rsplit(".", 1)
        gguf_name = names.get_name(stem) or names.get_name(stem.removeprefix("transformer."))
        yield f"{gguf_name}.{kind}", architecture.layout(name, parameter.data.numpy(), architecture.config)
    if architecture.name == "llama" and architecture.config.rope_parameters["rope_type"] == "llama3":
        yield "rope_freqs.weight", wavelength_factors(architecture.config, model.model.rotary_emb.inv_freq.numpy())
    if architecture.name == "phi3":
        for which in ("long", "short"):
            factors = architecture.config.rope_parameters[f"{which}_factor"]
            yield f"rope_factors_{which}.weight", np.array(factors, dtype=np.float32)


def wavelength_factors(config, frequencies):
    """By how much each pair of a head turns slower than without scaling."""
    unscaled = config.rope_parameters["rope_theta"] ** (-np.arange(0, config.head_dim, 2) / config.head_dim)
    return (unscaled / frequencies).astype(np.float32)


def write_gguf(path, architecture, model, tensors_a_shard=0):
    writer = gguf.GGUFWriter(path, architecture.name, split_max_tensors=tensors_a_shard)
    writer.add_name(path.stem)
    writer.add_block_count(architecture.config.num_hidden_layers)
    architecture.metadata(writer, architecture.config)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    if architecture.pre_tokenizer:
        add_bpe(writer, architecture.pre_tokenizer)
    else:
        add_spm(writer)
    for name, values in gguf_tensors(architecture, model):
        writer.add_tensor(name, np.ascontiguousarray(values))
    write(writer)


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def first_clear_model(make, compute, vocab_size, n_tokens):
    """Tries seeds until no two best logits come near each other; returns the model, its text and logits, and what to
    say of them."""
    for seed in itertools.count():
        model = make(seed)
        ids = torch.randint(vocab_size, (n_tokens,), generator=torch.Generator().manual_seed(seed))
        logits = compute(model, ids)
        margin = margins(logits).min() / np.abs(logits).max()
        if margin >= SMALLEST_MARGIN:
            return model, ids, logits, f"seed {seed:2}  largest logit {np.abs(logits).max():6.3f}  margin {margin:.1e}"


def make_model(out, name):
    architecture = ARCHITECTURES[name]
    model, ids, logits, report = first_clear_model(
        partial(random_model, architecture.config), partial(logits_in_double, architecture.config),
        architecture.config.vocab_size, N_TOKENS,
    )
    write_gguf(out / f"{name}.gguf", architecture, model)
    write_expected(out / f"{name}.expected", ids.numpy(), logits)

    rounding = np.abs(model(ids[None]).logits[0].numpy() - logits).max()
    with LlamaCpp(out / f"{name}.gguf", N_CTX) as peer:
        peer_logits = peer.logits(ids.tolist())
    difference = np.abs(peer_logits - logits)[: architecture.n_peer_tokens].max()
    print(f"{name:20} {report}  float32 {rounding:.1e}  llama.cpp {difference:.1e}", flush=True)
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"{name}: llama.cpp and transformers compute different logits")
    return model


def make_containers(out, model):
    """The same model as an older version of the format and in several files."""
    version_2 = bytearray((out / "llama.gguf").read_bytes())
    version_2[4:8] = (2).to_bytes(4, "little")  # the versions differ in nothing else
    (out / "llama-v2.gguf").write_bytes(version_2)
    write_gguf(out / "llama.gguf", ARCHITECTURES["llama"], model, tensors_a_shard=8)


# Of these the weights, too: in several files, and in one.
HUGGINGFACE_SHARDS = {"llama": "80KB", "phi-long": "1GB"}
HUGGINGFACE_CONFIGS = {"llama3", "mistral", "qwen2", "qwen3", "smollm3", "gemma3", "cohere2", "phi-short"}
HUGGINGFACE_TOKENIZERS = {"llama": spm_tokenizer, "llama3": bpe_tokenizer}


def make_huggingface(out, name, model):
    folder = out / "huggingface" / name
    if name in HUGGINGFACE_SHARDS:
        model.save_pretrained(folder, max_shard_size=HUGGINGFACE_SHARDS[name])
        (folder / "generation_config.json").unlink()
        for path in folder.iterdir():
            path.chmod(0o644)
    elif name in HUGGINGFACE_CONFIGS:
        model.config.save_pretrained(folder)
    if name in HUGGINGFACE_TOKENIZERS:
        save_tokenizer(folder, *HUGGINGFACE_TOKENIZERS[name]())


# --- Position schemes -------------------------------------------------------------------------------------------------


def position_model(fixture, seed):
    """With float32 weights, as the file has them."""
    vocab_size = len(spm_tokens(with_bytes=False))
    model = Transformer({**fixture.keys, "vocab_size": vocab_size}, fixture.shared, fixture.tied).eval()
    model.randomize(SPREAD, seed)
    return model


def position_logits_in_double(model, ids):
    return copy.deepcopy(model).double()(ids).numpy()


def logits_without_positions(fixture, model, ids):
    other = Transformer({**model.keys, "position.type": "none"}, tied=fixture.tied).double()
    other.load_state_dict(model.state_dict(), strict=False)
    return other(ids).numpy()


def write_position_gguf(path, model):
    writer = gguf.GGUFWriter(path, "longhand")
    writer.add_name(path.stem)
    add_keys(writer, "longhand", model.keys)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_spm(writer, with_bytes=False)
    for name, parameter in model.tensors():
        writer.add_tensor(name, parameter.data.numpy())
    write(writer)


def make_position(out, name):
    fixture = position_fixtures.FIXTURES[name]
    model, ids, logits, report = first_clear_model(
        partial(position_model, fixture), position_logits_in_double, len(spm_tokens(with_bytes=False)),
        position_fixtures.N_TOKENS,
    )
    write_position_gguf(out / f"{name}.gguf", model)
    write_expected(out / f"{name}.expected", ids.numpy(), logits)
    rounding = np.abs(model(ids).numpy() - logits).max()
    effect = np.abs(logits_without_positions(fixture, model, ids) - logits).max()
    print(f"positions/{name:24} {report}  float32 {rounding:.1e}  without {effect:.1e}", flush=True)


# --- Element formats --------------------------------------------------------------------------------------------------

# Where the half-precision scales of a block are.
SCALES = {
    Format.Q4_0: [0], Format.Q4_1: [0, 2], Format.Q5_0: [0], Format.Q5_1: [0, 2], Format.Q8_0: [0],
    Format.Q2_K: [80, 82], Format.Q3_K: [108], Format.Q4_K: [0, 2], Format.Q5_K: [0, 2], Format.Q6_K: [208],
    Format.IQ4_NL: [0], Format.IQ4_XS: [0],
}
EXTREME_HALVES = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x7BFF]  # zeros, subnormals, the largest


def finite(bits, exponent_mask):
    """Numbers for random bits, with the lowest exponent bit cleared where they would be infinite or not a number."""
    return np.where(bits & exponent_mask == exponent_mask, bits ^ (exponent_mask & -exponent_mask), bits)


def random_blocks(rng, element_format, n_rows, n_columns):
    shape = gguf.quant_shape_to_byte_shape((n_rows, n_columns), element_format)
    if element_format in (Format.F16, Format.BF16):
        exponent_mask = 0x7C00 if element_format == Format.F16 else 0x7F80
        return finite(rng.integers(1 << 16, size=(n_rows, n_columns)), exponent_mask).astype("<u2").view(np.uint8)
    block_bytes = gguf.GGML_QUANT_SIZES[element_format][1]
    blocks = rng.integers(256, size=shape, dtype=np.uint8).reshape(-1, block_bytes)
    for offset in SCALES[element_format]:
        halves = finite(rng.integers(1 << 16, size=len(blocks)), 0x7C00).astype("<u2")
        halves[: len(EXTREME_HALVES)] = rng.permutation(EXTREME_HALVES)
        blocks[:, offset : offset + 2] = halves[:, None].view(np.uint8)
    return blocks.reshape(shape)


def make_formats(path):
    rng = np.random.default_rng(1)
    writer = gguf.GGUFWriter(path, "formats")
    for element_format in (Format.F16, Format.BF16, *SCALES):
        name = element_format.name.lower()
        blocks = random_blocks(rng, element_format, n_rows=8, n_columns=512)
        writer.add_tensor(name, blocks, raw_dtype=element_format)
        writer.add_tensor(f"{name}.expected", gguf.dequantize(blocks, element_format))
    write(writer)


def quantize_by_ggml(weights, element_format):
    n_rows, n_columns = weights.shape
    blocks = np.empty(gguf.quant_shape_to_byte_shape(weights.shape, element_format), dtype=np.uint8)
    ggml = llama_cpp.llama_cpp._lib
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    written = ggml.ggml_quantize_chunk(
        ctypes.c_int(element_format), weights.ctypes, blocks.ctypes, ctypes.c_int64(0), ctypes.c_int64(n_rows),
        ctypes.c_int64(n_columns), None,
    )
    assert written == blocks.nbytes
    return blocks


def make_quantize(path):
    rng = np.random.default_rng(2)
    weights = rng.normal(scale=0.02, size=(32, 512)).astype(np.float32)
    weights[rng.random(weights.shape) < 0.002] *= 20  # outliers, as trained weights have
    weights[0] = 0
    weights[1] = weights[1, 0]
    weights[2] *= 1e-5  # half-precision scales become subnormal

    writer = gguf.GGUFWriter(path, "quantize")
    writer.add_tensor("weights", weights)
    for element_format in (Format.F16, Format.BF16, Format.Q8_0, Format.Q4_0, Format.Q4_K, Format.Q6_K):
        name = element_format.name.lower()
        blocks = quantize_by_ggml(weights, element_format)
        error = gguf.dequantize(blocks, element_format) - weights
        writer.add_tensor(name, blocks, raw_dtype=element_format)
        writer.add_float32(f"{name}.rmse", np.sqrt(np.mean(error.astype(np.float64) ** 2)))
    write(writer)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*ARCHITECTURES, "positions", *position_fixtures.FIXTURES]
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "data")
    options = parser.parse_args()
    if unknown := set(options.names) - set(names):
        parser.error(f"no models: {', '.join(unknown)}")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    positions = options.out / "positions"
    positions.mkdir(parents=True, exist_ok=True)

    for name in ARCHITECTURES:
        if not options.names or name in options.names:
            model = make_model(options.out, name)
            make_huggingface(options.out, name, model)
            if name == "llama":
                make_containers(options.out, model)
    for name in position_fixtures.FIXTURES:
        if not options.names or name in options.names or "positions" in options.names:
            make_position(positions, name)
    if not options.names:
        make_formats(options.out / "formats.gguf")
        make_quantize(options.out / "quantize.gguf")


if __name__ == "__main__":
    main()
