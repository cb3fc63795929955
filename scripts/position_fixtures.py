"""The models of tests/data/positions: one for each position scheme and each way of it that longhand distinguishes.

Texts of N_TOKENS run past what every model but those with learned positions was trained on."""

from dataclasses import dataclass

N_TOKENS = 96


@dataclass(frozen=True)
class Fixture:
    keys: dict  # of the file
    shared: tuple = ()  # tensors that the layers have in common
    tied: bool = True  # the output projection is the embedding table


def fixture(keys, shared=(), tied=True):
    small = {
        "block_count": 2,
        "context_length": 48,
        "embedding_length": 32,
        "feed_forward_length": 16,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-3,  # far larger than in real models: a forgotten one shows
    }
    return Fixture({**small, **keys}, shared, tied)


def rope(keys=(), **other):
    return fixture({"position.type": "rope", "rope.freq_base": 10000.0, **dict(keys)}, **other)


def scaled_rope(kind, keys, base=10000.0):
    """Heads of eight pairs, so that some are kept, some blended, some stretched."""
    wide = {"attention.head_count": 2, "attention.head_count_kv": 1, "context_length": 64, "rope.freq_base": base}
    return rope({**wide, "rope.scaling.type": kind, **{f"rope.scaling.{key}": value for key, value in keys.items()}})


SCHEMES = {
    "none": fixture({"position.type": "none"}),
    "sinusoidal": fixture({"position.type": "sinusoidal"}),
    "sinusoidal-concatenated": fixture(
        {"position.type": "sinusoidal", "position.layout": "concatenated", "position.base": 1000.0}
    ),
    "sinusoidal-fairseq": fixture({"position.type": "sinusoidal", "position.layout": "fairseq"}),
    "learned": fixture({"position.type": "learned", "context_length": N_TOKENS}),
    "learned-offset": fixture({"position.type": "learned", "context_length": N_TOKENS, "position.offset": 2}),
    "rope": rope(tied=False),
    "rope-halves": rope({"position.pairs": "halves"}, tied=False),
    "rope-partial": rope({"rope.dimension_count": 6}),
    "rope-partial-halves": rope({"rope.dimension_count": 4, "position.pairs": "halves"}),
    "xpos": rope({"position.type": "xpos", "position.scale_base": 64.0}),
    "xpos-partial-halves": rope({"position.type": "xpos", "rope.dimension_count": 4, "position.pairs": "halves"}),
    "alibi": fixture(  # a number of heads that is no power of two
        {
            "position.type": "alibi", "attention.max_alibi_bias": 8.0, "attention.key_length": 8,
            "attention.head_count": 6,
        }
    ),
    "alibi-scaled": fixture(
        {"position.type": "alibi", "attention.max_alibi_bias": 8.0, "position.scaled": True}
    ),
    "t5": fixture(
        {"position.type": "t5", "attention.relative_buckets_count": 32, "position.max_distance": 128},
        shared=("attn_rel_b",),
    ),
    "t5-layers": fixture(
        {
            "position.type": "t5", "attention.relative_buckets_count": 10, "position.max_distance": 50,
            "position.unscaled": False,
        }
    ),
    "shaw": fixture({"position.type": "shaw", "shape.rows": 17}),
    "shaw-values": fixture({"position.type": "shaw", "shape.rows": 9, "shape.values": True}),
    "transformer-xl": fixture({"position.type": "transformer-xl"}),
    "transformer-xl-clamped": fixture(
        {"position.type": "transformer-xl", "position.clamp_length": 20}, shared=("attn_rel_u", "attn_rel_v")
    ),
    "disentangled": fixture(
        {
            "position.type": "disentangled", "position.buckets": 16, "position.max_distance": 64,
            "position.norm_epsilon": 1e-3,
        },
        shared=("attn_rel", "attn_rel_norm"),
    ),
    "disentangled-c2p": fixture(
        {
            "position.type": "disentangled", "position.buckets": 8, "position.max_distance": 32,
            "shape.terms": ["c2p"],
        }
    ),
    "disentangled-p2c": fixture(
        {"position.type": "disentangled", "shape.rows": 24, "shape.terms": ["p2c"]},
        shared=("attn_rel",),
    ),
    "disentangled-shared": fixture(
        {"position.type": "disentangled", "shape.rows": 24, "position.share_att_key": True},
        shared=("attn_rel",),
    ),
    "kerple-log": fixture({"position.type": "kerple", "position.kind": "log"}),
    "kerple-power": fixture(
        {"position.type": "kerple", "position.kind": "power"}, shared=("attn_rel_p", "attn_rel_a")
    ),
    "sandwich": fixture({"position.type": "sandwich", "position.dims": 64}),
    "sandwich-first": fixture({"position.type": "sandwich", "position.dims": 32, "position.first": 1}),
    "fire": fixture({"position.type": "fire", "shape.hidden": 16}),
    "cope": fixture({"position.type": "cope", "shape.rows": 24}),
}
SCALINGS = {
    "rope-linear": scaled_rope("linear", {"factor": 4.0}),
    "rope-ntk": scaled_rope("ntk", {"factor": 4.0}),
    "rope-dynamic": scaled_rope("dynamic", {"factor": 2.0, "original_context_length": 32}),
    "rope-yarn": scaled_rope("yarn", {"factor": 4.0, "original_context_length": 32}, base=200.0),
    "rope-yarn-mscale": scaled_rope(
        "yarn", {"factor": 4.0, "original_context_length": 32, "mscale": 1.0, "mscale_all_dim": 0.5}, base=200.0
    ),
    "rope-yarn-untruncated": scaled_rope(
        "yarn", {"factor": 4.0, "original_context_length": 32, "truncate": False, "attention_factor": 1.25}, base=200.0
    ),
    "rope-yarn-borders": scaled_rope(
        "yarn",
        {
            "factor": 4.0, "original_context_length": 32, "yarn_beta_fast": 4.0, "yarn_beta_slow": 0.5,
            "attn_factor": 0.75,
        },
        base=50.0,
    ),
    "rope-dynamic-yarn": scaled_rope("dynamic-yarn", {"original_context_length": 32}, base=200.0),
    "rope-llama3": scaled_rope(
        "llama3", {"factor": 4.0, "original_context_length": 32, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    ),
    "rope-longrope": scaled_rope("longrope", {"original_context_length": 32}),
    "rope-longrope-short": scaled_rope("longrope", {"original_context_length": 128, "attn_factor": 1.25}),
}
MIXES = {
    "nope-mix": rope(  # SmolLM3
        {"block_count": 4, "position.type": ["rope", "rope", "rope", "none"], "position.pairs": "halves"}
    ),
    "local-global": rope(  # Gemma 3
        {"block_count": 3, "attention.sliding_window": [12, 12, 0], "rope.freq_base": [100.0, 100.0, 10000.0]}
    ),
    "llama4-like": rope(
        {
            "block_count": 4, "position.type": ["rope", "rope", "rope", "none"],
            "attention.chunk_size": [24, 24, 24, 0], "attention.temperature_scale": [0.0, 0.0, 0.0, 0.1],
            "attention.temperature_floor": 16.0,
        }
    ),
    "xl-memory": fixture(
        {"position.type": "transformer-xl", "attention.chunk_size": 16, "attention.memory_length": 24}
    ),
    "three-schemes": fixture(
        {
            "block_count": 3, "position.type": ["alibi", "t5", "shaw"], "attention.max_alibi_bias": 8.0,
            "attention.relative_buckets_count": 12, "position.max_distance": 64, "shape.rows": 9,
            "attention.sliding_window": [0, 32, 20],
        }
    ),
}
FIXTURES = {**SCHEMES, **SCALINGS, **MIXES}
