#!/usr/bin/env python3
"""Holds the position schemes of scripts/positions.py against the code of others and prints a Markdown table.

    scripts/check_positions.py [NAME ...]      all fixtures of scripts/position_fixtures.py, or only some

Where others have a whole model of the kind, its logits are compared; else the output of their attention, given the same
weights; else what their code adds to the scores. All in double precision, on texts as long as the fixtures'. Where
nobody's code is at hand the formula's values at a few points, worked out without this code, must do, and the table says
so. The differences are shares of the largest number. Exits with 1 if any is larger than TOLERANCE.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import transformers
import x_transformers.x_transformers as x_transformers
from torch import nn
from transformers import masking_utils
from transformers.models.bloom.modeling_bloom import build_alibi_tensor as build_bloom_alibi
from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Encoder
from transformers.models.falcon.modeling_falcon import FalconAttention
from transformers.models.falcon.modeling_falcon import build_alibi_tensor as build_falcon_alibi
from transformers.models.gpt_neox.modeling_gpt_neox import GPTNeoXAttention, GPTNeoXRotaryEmbedding
from transformers.models.gptj.modeling_gptj import GPTJAttention
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.opt.modeling_opt import OPTLearnedPositionalEmbedding
from transformers.models.seamless_m4t_v2.modeling_seamless_m4t_v2 import SeamlessM4Tv2ConformerSelfAttention
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.vits.modeling_vits import VitsAttention
from transformers.models.xglm.modeling_xglm import XGLMSinusoidalPositionalEmbedding
from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings
from transformers.models.xlnet.modeling_xlnet import XLNetModel

from position_fixtures import FIXTURES, N_TOKENS
from positions import Pairs, Transformer, frequencies, head_dim_of
from reference import SPREAD, double_precision

TOLERANCE = 1e-5  # some of the others keep tables in float32
VOCAB_SIZE = 40
HALVES = {"position.pairs": "halves"}
POSITIONS = torch.arange(N_TOKENS)


@dataclass
class Check:
    name: str  # of the fixture
    outsider: str
    compare: Callable  # () -> (our numbers, theirs)


CHECKS = []


def check(outsider, *names):
    """Enters a function (name) -> (ours, theirs) for these fixtures."""

    def enter(function):
        CHECKS.extend(Check(name, outsider, lambda name=name: function(name)) for name in names)
        return function

    return enter


# --- Our side ---------------------------------------------------------------------------------------------------------


def our_model(name, changes=()):
    """The fixture's model with other random weights, in double precision."""
    fixture = FIXTURES[name]
    keys = {**fixture.keys, "vocab_size": VOCAB_SIZE, **dict(changes)}
    model = Transformer(keys, fixture.shared, fixture.tied).double().eval()
    model.randomize(SPREAD, seed=1)
    return model


def our_layer(name, changes=()):
    """Its first layer."""
    return our_model(name, changes).blk[0]


def our_embedding(name):
    return our_layer(name).position.embedding(POSITIONS)


def our_bias(name):
    layer = our_layer(name)
    pairs = layer.pairs(N_TOKENS)
    return seen(layer.position.bias(pairs), pairs.visible)


def seen(scores, visible):
    """What scores are worth to the softmax: differences from the query's own key, nothing for keys that it does not
    see."""
    own = scores.diagonal(dim1=-2, dim2=-1)[..., None]
    return torch.where(visible, scores - own, 0.0)


def hidden_states(layer):
    return torch.randn(N_TOKENS, layer.attn_norm.weight.numel(), generator=torch.Generator().manual_seed(2)).double()


def token_ids():
    return torch.randint(VOCAB_SIZE, (N_TOKENS,), generator=torch.Generator().manual_seed(3))


def bias_mask(visible):
    """What other code wants to have added to the scores: (1, 1, i, j)."""
    return torch.zeros(visible.shape).double().masked_fill(~visible, -math.inf)[None, None]


# --- Their side -------------------------------------------------------------------------------------------------------

LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "blk": "model.layers",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def llama_weights(model):
    return {
        ".".join(LLAMA_NAMES.get(part, part) for part in name.split(".")): parameter
        for name, parameter in model.named_parameters()
        if ".position." not in name
    }


def llama_settings(model):
    keys = model.keys
    return {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": keys["embedding_length"],
        "intermediate_size": keys["feed_forward_length"],
        "num_hidden_layers": keys["block_count"],
        "num_attention_heads": keys["attention.head_count"],
        "num_key_value_heads": keys["attention.head_count_kv"],
        "head_dim": head_dim_of(keys),
        "max_position_embeddings": keys["context_length"],
        "rms_norm_eps": keys["attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": not hasattr(model, "output"),
        "pad_token_id": None,
    }


def their_model(model, config_class, rename=lambda name: name, **settings):
    """A model of the Llama family with our weights."""
    config = config_class(**{**llama_settings(model), **settings})
    theirs = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float64, attn_implementation="eager")
    weights = {rename(name): weight for name, weight in llama_weights(model).items()}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    theirs.tie_weights()
    return theirs.eval()


def rope_parameters(model, kind="default", **parameters):
    base = model.keys.get("rope.freq_base", 10000.0)
    return {"rope_parameters": {"rope_type": kind, "rope_theta": base, **parameters}}


def set_linear(linear, weight, bias=None):
    """Gives another's projection our weights."""
    linear.weight.data = weight.data
    if linear.bias is not None:
        linear.bias.data = torch.zeros(len(weight)).double() if bias is None else bias.data


def for_each_head(layer, rows):
    """Rows by key head, repeated by query head: others' attention has no grouped heads."""
    return rows.unflatten(0, (-1, layer.head_dim)).repeat_interleave(layer.group, 0).flatten(0, 1)


def projections(layer):
    """Weights of q, k, v and the output."""
    k, v = for_each_head(layer, layer.attn_k.weight), for_each_head(layer, layer.attn_v.weight)
    return layer.attn_q.weight, k, v, layer.attn_output.weight


def set_projections(attention, layer, names):
    for name, weight in zip(names, projections(layer)):
        set_linear(getattr(attention, name), weight)


def fused_qkv(layer):
    """Rows by head, and in a head those of q, k and v."""
    rows = [weight.unflatten(0, (-1, layer.head_dim)) for weight in projections(layer)[:3]]
    return torch.stack(rows, 1).flatten(0, 2)


# --- Absolute ---------------------------------------------------------------------------------------------------------


@check("XLM, transformers", "sinusoidal")
def check_interleaved(name):
    dim = FIXTURES[name].keys["embedding_length"]
    return our_embedding(name), create_sinusoidal_embeddings(N_TOKENS, dim, torch.empty(N_TOKENS, dim))


@check("ScaledSinusoidalEmbedding, x-transformers", "sinusoidal-concatenated")
def check_concatenated(name):
    keys = FIXTURES[name].keys
    theirs = x_transformers.ScaledSinusoidalEmbedding(keys["embedding_length"], keys["position.base"])
    return our_embedding(name), theirs(torch.empty(1, N_TOKENS, 1)) / theirs.scale


@check("XGLM, transformers", "sinusoidal-fairseq")
def check_fairseq(name):
    theirs = XGLMSinusoidalPositionalEmbedding(N_TOKENS, FIXTURES[name].keys["embedding_length"], padding_idx=1)
    return our_embedding(name), theirs(POSITIONS[None])[0]


@check("AbsolutePositionalEmbedding, x-transformers", "learned")
def check_learned(name):
    layer = our_layer(name)
    theirs = x_transformers.AbsolutePositionalEmbedding(layer.position.dim, N_TOKENS)
    theirs.emb.weight.data = layer.position.position_embd.weight.data
    return layer.position.embedding(POSITIONS), theirs(torch.empty(1, N_TOKENS, 1)) / theirs.scale


@check("OPT, transformers", "learned-offset")
def check_opt(name):
    layer = our_layer(name)
    theirs = OPTLearnedPositionalEmbedding(N_TOKENS, layer.position.dim)
    theirs.weight.data = layer.position.position_embd.weight.data
    return layer.position.embedding(POSITIONS), theirs(torch.ones(1, N_TOKENS, dtype=torch.long))[0]


# --- Rotary -----------------------------------------------------------------------------------------------------------


@check("GPT-J attention, transformers", "rope", "rope-partial")
def check_gptj(name):
    layer = our_layer(name)
    keys = FIXTURES[name].keys
    config = transformers.GPTJConfig(
        n_embd=keys["embedding_length"], n_head=keys["attention.head_count"], n_positions=N_TOKENS,
        rotary_dim=layer.position.rotated,
    )
    theirs = GPTJAttention(config, layer_idx=0).double().eval()
    set_projections(theirs, layer, ("q_proj", "k_proj", "v_proj", "out_proj"))
    x = hidden_states(layer)
    mask = bias_mask(layer.pairs(N_TOKENS).visible)
    return layer.attention(x), theirs(x[None], attention_mask=mask, position_ids=POSITIONS[None])[0][0]


@check("GPT-NeoX attention, transformers", "rope-partial-halves")
def check_gptneox(name):
    layer = our_layer(name)
    keys = FIXTURES[name].keys
    config = transformers.GPTNeoXConfig(
        hidden_size=keys["embedding_length"], num_attention_heads=keys["attention.head_count"], attention_bias=False,
        rope_parameters={
            "rope_type": "default", "rope_theta": layer.position.base,
            "partial_rotary_factor": layer.position.rotated / layer.head_dim,
        },
        attn_implementation="eager",
    )
    theirs = GPTNeoXAttention(config).double().eval()
    theirs.query_key_value.weight.data = fused_qkv(layer)
    theirs.dense.weight.data = layer.attn_output.weight.data
    x = hidden_states(layer)
    angles = GPTNeoXRotaryEmbedding(config)(x[None], POSITIONS[None])
    mask = bias_mask(layer.pairs(N_TOKENS).visible)
    return layer.attention(x), theirs(x[None], attention_mask=mask, position_embeddings=angles)[0][0]


@check("Llama, transformers", "rope-halves")
def check_llama(name):
    model = our_model(name, HALVES)
    theirs = their_model(model, transformers.LlamaConfig, **rope_parameters(model))
    return model(token_ids()), theirs(token_ids()[None]).logits[0]


@check(
    "Llama, transformers", "rope-linear", "rope-yarn", "rope-yarn-mscale", "rope-yarn-untruncated", "rope-yarn-borders",
    "rope-llama3", "rope-longrope", "rope-longrope-short",
)
def check_scaled_llama(name):
    model = our_model(name, HALVES)
    scaling = {key.removeprefix("rope.scaling."): value for key, value in model.keys.items() if "rope.scaling." in key}
    kind = scaling.pop("type")
    their_names = {
        "original_context_length": "original_max_position_embeddings",
        "yarn_beta_fast": "beta_fast",
        "yarn_beta_slow": "beta_slow",
    }
    parameters = {their_names.get(key, key): value for key, value in scaling.items() if key != "attn_factor"}
    if "attn_factor" in scaling:  # which in GGUF multiplies what YaRN makes of the factor
        by_formula = 0.1 * math.log(scaling["factor"]) + 1 if kind == "yarn" else 1.0
        parameters["attention_factor"] = scaling["attn_factor"] * by_formula
    if kind == "longrope":
        rope = model.blk[0].position
        parameters["short_factor"] = rope.rope_factors_short.weight.tolist()
        parameters["long_factor"] = rope.rope_factors_long.weight.tolist()
    theirs = their_model(model, transformers.LlamaConfig, **rope_parameters(model, kind, **parameters))
    return model(token_ids()), theirs(token_ids()[None]).logits[0]


def last_tokens(name, their_parameters):
    """Theirs turns all queries of a text as its length demands, ours each query as the length at it demands: in one
    layer the last tokens of texts agree."""
    model = our_model(name, {**HALVES, "block_count": 1})
    ours, theirs = [], []
    for n in (1, 20, 32, 33, 34, 50, 77, 96):
        settings = their_parameters(model, n)
        ours.append(model(token_ids())[n - 1])
        theirs.append(their_model(model, transformers.LlamaConfig, **settings)(token_ids()[None, :n]).logits[0, -1])
    return torch.stack(ours), torch.stack(theirs)


@check("Llama, transformers: last tokens of one layer", "rope-dynamic")
def check_dynamic(name):
    def parameters(model, n):
        length = model.keys["rope.scaling.original_context_length"]
        factor = model.keys["rope.scaling.factor"]
        return {"max_position_embeddings": length, **rope_parameters(model, "dynamic", factor=factor)}

    return last_tokens(name, parameters)


@check("Llama with the YaRN of each length, transformers: last tokens of one layer", "rope-dynamic-yarn")
def check_dynamic_yarn(name):
    def parameters(model, n):
        length = model.keys["rope.scaling.original_context_length"]
        factor = max(1.0, n / length)
        return rope_parameters(model, "yarn", factor=factor, original_max_position_embeddings=length)

    return last_tokens(name, parameters)


@check("RotaryEmbedding, x-transformers: frequencies", "rope-ntk")
def check_ntk(name):
    rope = our_layer(name).position
    theirs = x_transformers.RotaryEmbedding(
        rope.rotated, base=rope.base, base_rescale_factor=rope.keys["rope.scaling.factor"]
    )
    return frequencies(rope.keys, rope.base, rope.rotated, N_TOKENS, rope.factors())[0], theirs.inv_freq


def random_heads(layer):
    """Queries and keys (h, n, d) of no model."""
    shape = (2, layer.position.n_heads, N_TOKENS, layer.head_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(4)).double()


@check("RotaryEmbedding, x-transformers: scores", "xpos", "xpos-partial-halves")
def check_xpos(name):
    layer = our_layer(name)
    xpos = layer.position
    q, k = random_heads(layer)
    visible = layer.pairs(N_TOKENS).visible
    rotary = x_transformers.RotaryEmbedding(xpos.rotated, use_xpos=True, scale_base=xpos.scale_base)
    angles, scale = rotary(POSITIONS)

    def interleaved(x):  # as theirs has the pairs
        a, b, rest = xpos.split(x)
        return torch.cat((torch.stack((a, b), -1).flatten(-2), rest), -1)[None]

    rotate = x_transformers.apply_rotary_pos_emb
    theirs = rotate(interleaved(q), angles, scale) @ rotate(interleaved(k), angles, scale**-1).transpose(-1, -2)
    return xpos.scores(q, k, layer.pairs(N_TOKENS), layer) * visible, theirs[0] * xpos.scale * visible


# --- Biases -----------------------------------------------------------------------------------------------------------


@check("Bloom, transformers: bias", "alibi")
def check_bloom(name):
    n_heads = FIXTURES[name].keys["attention.head_count"]
    bias = build_bloom_alibi(torch.ones(1, N_TOKENS), n_heads, torch.float64)
    return our_bias(name), seen(bias.expand(-1, N_TOKENS, -1), POSITIONS <= POSITIONS[:, None])


@check("MPT, transformers: bias", "alibi")
def check_mpt(name):
    keys = FIXTURES[name].keys
    bias = build_mpt_alibi_tensor(keys["attention.head_count"], N_TOKENS, keys["attention.max_alibi_bias"])
    return our_bias(name), seen(bias.double().expand(-1, N_TOKENS, -1), POSITIONS <= POSITIONS[:, None])


@check("AlibiPositionalBias, x-transformers: bias", "alibi")
def check_x_alibi(name):
    bias = x_transformers.AlibiPositionalBias(FIXTURES[name].keys["attention.head_count"])(N_TOKENS, N_TOKENS)
    return our_bias(name), seen(bias, POSITIONS <= POSITIONS[:, None])


@check("Falcon-RW attention, transformers", "alibi-scaled")
def check_falcon(name):
    layer = our_layer(name)
    keys = FIXTURES[name].keys
    config = transformers.FalconConfig(
        hidden_size=keys["embedding_length"], num_attention_heads=keys["attention.head_count"], alibi=True, bias=False,
        new_decoder_architecture=False, multi_query=False, attn_implementation="eager",
    )
    theirs = FalconAttention(config, layer_idx=0).double().eval()
    theirs.query_key_value.weight.data = fused_qkv(layer)
    theirs.dense.weight.data = layer.attn_output.weight.data
    x = hidden_states(layer)
    alibi = build_falcon_alibi(torch.ones(1, N_TOKENS), keys["attention.head_count"], torch.float64)
    mask = bias_mask(layer.pairs(N_TOKENS).visible)
    return layer.attention(x), theirs(x[None], alibi=alibi, attention_mask=mask)[0][0]


@check("T5 decoder attention, transformers", "t5")
def check_t5(name):
    layer = our_layer(name)
    t5 = layer.position
    config = transformers.T5Config(
        d_model=t5.dim, d_kv=t5.head_dim, num_heads=t5.n_heads, is_decoder=True,
        relative_attention_num_buckets=t5.n_buckets, relative_attention_max_distance=t5.max_distance,
        attn_implementation="eager",
    )
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0, is_causal=True).double().eval()
    set_projections(theirs, layer, ("q", "k", "v", "o"))
    theirs.relative_attention_bias.weight.data = t5.attn_rel_b.weight.data
    x = hidden_states(layer)
    mask = bias_mask(layer.pairs(N_TOKENS).visible)
    return layer.attention(x), theirs(x[None], mask=mask)[0][0]


@check("RelativePositionBias, x-transformers: bias", "t5", "t5-layers")
def check_x_t5(name):
    layer = our_layer(name)
    t5 = layer.position
    theirs = x_transformers.RelativePositionBias(
        1.0, causal=True, num_buckets=t5.n_buckets, max_distance=t5.max_distance, heads=t5.n_heads
    ).double()
    theirs.relative_attention_bias.weight.data = t5.attn_rel_b.weight.data
    pairs = layer.pairs(N_TOKENS)
    return t5.bias(pairs) * pairs.visible, theirs(N_TOKENS, N_TOKENS) * pairs.visible


NO_CODE = "no code at hand: values of the formula"


@check(NO_CODE, "kerple-log")
def check_kerple(name):
    kerple = our_layer(name).position
    kerple.attn_rel_p.weight.data[:], kerple.attn_rel_a.weight.data[:] = 1.0, 0.5
    theirs = torch.tensor([0, -0.405465, -0.693147, -1.791759, -3.931826]).double()
    return bias_at(kerple, [0, 1, 2, 10, 100])[0], theirs


@check(NO_CODE, "kerple-power")
def check_kerple_power(name):
    kerple = our_layer(name).position
    kerple.attn_rel_p.weight.data[:], kerple.attn_rel_a.weight.data[:] = 1.5, 0.25
    return bias_at(kerple, [0, 1, 4, 25])[0], torch.tensor([0, -0.25, -2.0, -31.25]).double()


@check(NO_CODE, "sandwich", "sandwich-first")
def check_sandwich(name):
    first = FIXTURES[name].keys.get("position.first", 0)
    sandwich = our_layer(name, {"position.dims": 128, "attention.head_count": 8, "embedding_length": 64}).position
    by_first = {
        0: [0, -1.90632, -6.61814, -21.17998, -33.45655],
        1: [0, -1.44662, -5.20199, -19.34091, -33.31891],
    }
    theirs = torch.tensor(by_first[first]).double()
    ours = bias_at(sandwich, [0, 1, 2, 10, 100])
    return ours - ours[:, :1], torch.stack([theirs / (head + 1) for head in range(8)])


@check(NO_CODE, "fire")
def check_fire(name):
    """A perceptron that hands on its input shows the normalised distance."""
    fire = our_layer(name, {"shape.hidden": 1}).position
    fire.attn_rel_c.weight.data[:], fire.attn_rel_length.weight.data[:] = 0.1, 512.0
    fire.attn_rel_in.weight.data[:], fire.attn_rel_out.weight.data[:] = 1.0, 1.0
    fire.attn_rel_in.bias.data[:], fire.attn_rel_out.bias.data[:] = 0.0, 0.0
    places = torch.tensor([(10, 0), (511, 0), (1023, 0), (1023, 512)])
    ours = fire.bias(Pairs(places[:, :1], places[:, 1:], None))[0, :, 0]
    return ours, torch.tensor([0.175255, 0.999515, 1.0, 0.852409]).double()


def bias_at(scheme, distances):
    distances = torch.tensor(distances)[None]
    return scheme.bias(Pairs(distances, torch.zeros_like(distances), None))[:, 0]


# --- Relative vectors -------------------------------------------------------------------------------------------------


@check("SeamlessM4T-v2 attention, transformers", "shaw")
def check_shaw(name):
    layer = our_layer(name)
    shaw = layer.position
    config = transformers.SeamlessM4Tv2Config(
        hidden_size=shaw.dim, speech_encoder_attention_heads=shaw.n_heads, position_embeddings_type="relative_key",
        left_max_position_embeddings=len(shaw.attn_rel_k.weight) - 1, right_max_position_embeddings=0,
        attn_implementation="eager",
    )
    theirs = SeamlessM4Tv2ConformerSelfAttention(config).double().eval()
    set_projections(theirs, layer, ("linear_q", "linear_k", "linear_v", "linear_out"))
    theirs.distance_embedding.weight.data = shaw.attn_rel_k.weight.flip(0)  # theirs begins with the farthest
    x = hidden_states(layer)
    mask = bias_mask(layer.pairs(N_TOKENS).visible)
    return layer.attention(x), theirs(x[None], attention_mask=mask)[0][0]


@check("VITS attention, transformers: up to the longest distance", "shaw-values")
def check_vits(name):
    """Which leaves distances past the table out, where Shaw's clips them."""
    layer = our_layer(name)
    shaw = layer.position
    n = len(shaw.attn_rel_k.weight)
    config = transformers.VitsConfig(
        hidden_size=shaw.dim, num_attention_heads=shaw.n_heads, window_size=n - 1, use_bias=False
    )
    theirs = VitsAttention(config).double().eval()
    set_projections(theirs, layer, ("q_proj", "k_proj", "v_proj", "out_proj"))
    for their_table, table in ((theirs.emb_rel_k, shaw.attn_rel_k), (theirs.emb_rel_v, shaw.attn_rel_v)):
        their_table.data.zero_()
        their_table.data[0, :n] = table.weight.flip(0)
    x = hidden_states(layer)[:n]
    return layer.attention(x), theirs(x[None], attention_mask=bias_mask(layer.pairs(n).visible))[0][0]


def xlnet_attention(layer):
    """Their model, its one attention having our weights, as a function of memory and text."""
    scheme = layer.position
    config = transformers.XLNetConfig(
        d_model=scheme.dim, n_head=scheme.n_heads, d_inner=8, n_layer=1, attn_type="uni",
        clamp_len=scheme.clamp_length or -1,
    )
    theirs = XLNetModel(config).double().eval()
    attention = theirs.layer[0].rel_attn
    q, k, v, output = projections(layer)
    r = for_each_head(layer, scheme.attn_rel.weight)
    for name, weight in (("q", q), ("k", k), ("v", v), ("o", output.T), ("r", r)):
        getattr(attention, name).data = weight.T.unflatten(-1, (scheme.n_heads, scheme.head_dim))
    attention.r_w_bias.data, attention.r_r_bias.data = scheme.attn_rel_u.weight.data, scheme.attn_rel_v.weight.data

    def attend(memory, text):
        keys = torch.cat((memory, text))
        q, k, v = (
            torch.einsum("nm,mhd->nhd", x, weight)[:, None]
            for x, weight in ((text, attention.q), (keys, attention.k), (keys, attention.v))
        )
        waves = theirs.relative_positional_encoding(len(text), len(keys))
        r = torch.einsum("nbm,mhd->nbhd", waves, attention.r)
        hidden = torch.arange(len(keys)) > torch.arange(len(text))[:, None] + len(memory)
        mixed = attention.rel_attn_core(q, k, v, r, attn_mask=hidden[:, :, None, None].double())
        return torch.einsum("nbhd,mhd->nm", mixed, attention.o)

    return attend


@check("XLNet attention, transformers", "transformer-xl", "transformer-xl-clamped")
def check_xlnet(name):
    layer = our_layer(name)
    x = hidden_states(layer)
    return layer.attention(x), xlnet_attention(layer)(x[:0], x)


@check("XLNet attention, segment by segment, transformers", "xl-memory")
def check_xlnet_memory(name):
    layer = our_layer(name)
    x = hidden_states(layer)
    attend = xlnet_attention(layer)
    starts = range(0, N_TOKENS, layer.chunk)
    theirs = [attend(x[max(0, start - layer.memory) : start], x[start : start + layer.chunk]) for start in starts]
    return layer.attention(x), torch.cat(theirs)


@check(
    "DeBERTa-v2 attention, transformers", "disentangled", "disentangled-c2p", "disentangled-p2c", "disentangled-shared"
)
def check_deberta(name):
    layer = our_layer(name)
    scheme = layer.position
    n_rows = len(scheme.attn_rel.weight)
    norm = getattr(scheme, "attn_rel_norm", None)
    config = transformers.DebertaV2Config(
        hidden_size=scheme.dim, num_attention_heads=scheme.n_heads, num_hidden_layers=1, relative_attention=True,
        position_buckets=scheme.n_buckets or -1, max_relative_positions=scheme.max_distance or n_rows,
        pos_att_type=scheme.terms, share_att_key=scheme.share,
        norm_rel_ebd="layer_norm" if norm else "none", layer_norm_eps=norm.eps if norm else 1e-7,
    )
    encoder = DebertaV2Encoder(config).double().eval()
    theirs = encoder.layer[0].attention.self
    set_projections(theirs, layer, ("query_proj", "key_proj", "value_proj"))
    if hasattr(theirs, "pos_key_proj"):
        weight, bias = (for_each_head(layer, rows) for rows in scheme.attn_rel_k.parameters())
        set_linear(theirs.pos_key_proj, weight, bias)
    if hasattr(theirs, "pos_query_proj"):
        set_linear(theirs.pos_query_proj, *scheme.attn_rel_q.parameters())
    encoder.rel_embeddings.weight.data = torch.cat((torch.zeros_like(scheme.attn_rel.weight), scheme.attn_rel.weight))
    if norm:
        encoder.LayerNorm.load_state_dict(norm.state_dict())
    x = hidden_states(layer)
    visible = layer.pairs(N_TOKENS).visible[None, None]
    mixed = theirs(x[None], visible, rel_embeddings=encoder.get_rel_embedding())[0][0]
    return layer.attention(x), layer.attn_output(mixed)


# --- By content -------------------------------------------------------------------------------------------------------


@check("CoPE, x-transformers: scores", "cope")
def check_cope(name):
    layer = our_layer(name)
    cope = layer.position
    q, k = random_heads(layer)
    theirs = x_transformers.CoPE(layer.head_dim, cope.n_heads, len(cope.attn_rel.weight))
    theirs.pos_emb.data = cope.attn_rel.weight.data
    pairs = layer.pairs(N_TOKENS)
    content = (cope.scale * q @ k.transpose(-1, -2)).masked_fill(~pairs.visible, -1e300)
    scores = content + theirs(q[None], content[None])[0]
    return cope.scores(q, k, pairs, layer) * pairs.visible, scores.masked_fill(~pairs.visible, 0)


# --- Mixes ------------------------------------------------------------------------------------------------------------


@check("SmolLM3, transformers", "none", "nope-mix")
def check_smollm3(name):
    model = our_model(name)
    kinds = model.keys["position.type"]
    kinds = kinds if isinstance(kinds, list) else [kinds] * model.keys["block_count"]
    theirs = their_model(
        model, transformers.SmolLM3Config, no_rope_layers=[int(kind == "rope") for kind in kinds],
        **rope_parameters(model),
    )
    return model(token_ids()), theirs(token_ids()[None]).logits[0]


@check("Llama 4, transformers", "llama4-like")
def check_llama4(name):
    model = our_model(name)
    theirs = their_model(
        model, transformers.Llama4TextConfig, lambda name: name.replace("mlp", "feed_forward"), moe_layers=[],
        intermediate_size_mlp=model.keys["feed_forward_length"], use_qk_norm=False, no_rope_layers=[1, 1, 1, 0],
        attention_chunk_size=model.blk[0].chunk, attn_scale=model.blk[3].temperature_scale,
        floor_scale=int(model.blk[3].temperature_floor), **rope_parameters(model),
    )
    return model(token_ids()), theirs(token_ids()[None]).logits[0]


@check("Llama's layers with masks and bases of their own, transformers", "local-global")
def check_layers(name):
    model = our_model(name, HALVES)
    weights = llama_weights(model)
    x = model.token_embd(token_ids())[None]
    for number, layer in enumerate(model.blk):
        rope = {"rope_type": "default", "rope_theta": model.keys["rope.freq_base"][number]}
        config = transformers.LlamaConfig(
            **llama_settings(model), rope_parameters=rope, attn_implementation="eager"
        )
        theirs = LlamaDecoderLayer(config, layer_idx=number).double().eval()
        prefix = f"model.layers.{number}."
        theirs.load_state_dict(
            {key.removeprefix(prefix): weight for key, weight in weights.items() if key.startswith(prefix)}
        )
        sees = (
            masking_utils.sliding_window_causal_mask_function(layer.window)
            if layer.window
            else masking_utils.causal_mask_function
        )
        visible = sees(0, 0, POSITIONS[:, None], POSITIONS[None])
        angles = LlamaRotaryEmbedding(config)(x, POSITIONS[None])
        x = theirs(x, attention_mask=bias_mask(visible), position_embeddings=angles)
    return model(token_ids()), nn.functional.linear(model.output_norm(x[0]), model.token_embd.weight)


# --- The table --------------------------------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIXTURES))
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIXTURES):
        parser.error(f"no fixtures: {', '.join(unknown)}")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    transformers.logging.set_verbosity_error()

    print("| scheme | held against | largest difference |\n|---|---|---|")
    too_different = []
    for name in options.names or FIXTURES:
        checks = [check for check in CHECKS if check.name == name]
        if not checks:
            print(f"| {name} | nothing as a whole | |")
        for check in checks:
            with double_precision():
                ours, theirs = check.compare()
            assert ours.shape == theirs.shape, (name, ours.shape, theirs.shape)
            difference = ((ours - theirs).abs().max() / theirs.abs().max()).item()
            print(f"| {name} | {check.outsider} | {difference:.1e} |", flush=True)
            if not difference <= TOLERANCE:
                too_different.append(name)
    if too_different:
        raise SystemExit(f"differs by more than {TOLERANCE}: {', '.join(too_different)}")


if __name__ == "__main__":
    main()
