"""The position schemes of scripts/positions.py as scripts/train.py trains them. Each is its brute-force twin, with the
twin's parameters and keys, and adds

    settings     the keys that a model is trained with, and begin(): where its parameters begin; both as in its paper
                 unless it says otherwise
    attention    the twin's scores in a few operations on whole batches, for windows of exactly context_length tokens

scripts/check_training.py holds the two against each other.
"""

import math

import torch
import torch.nn.functional as F

import positions
from positions import Pairs

# Shapes: b windows, i queries, j keys, n = context_length of both, h heads, g key heads, d = head dimension.

SPREAD = 0.02  # of vectors that begin at random, as of all weights of scripts/train.py


def by_key(x):
    """Products of queries with vectors by distance, the longest first (..., i, n - 1 - distance), as (..., i, j).
    Numbers for keys after the query mean nothing."""
    n = x.size(-1)
    return F.pad(x, (1, 0)).flatten(-2)[..., n:].unflatten(-1, (n, n))


def by_query(x):
    """Products of keys with vectors by distance, the shortest first (..., j, distance), as (..., i, j). Numbers for
    keys after the query mean nothing."""
    n = x.size(-1)
    return F.pad(x, (0, 1)).flatten(-2)[..., : n * n].unflatten(-1, (n, n)).transpose(-1, -2)


class Fast(positions.Scheme):
    """No positions, and what the schemes have in common."""

    shared = ()  # tensors that the layers have in common
    maps = ()  # matrices that map vectors; other tensors are tables of vectors or numbers
    absolute = False  # whether it adds to the embedding of the tokens: once, so the first layer must have it
    unit = 1.0  # of the residual stream while training, in that of the file

    @staticmethod
    def settings(config):
        return {}

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        n = keys["context_length"]
        self.register_buffer("distances", torch.arange(n), persistent=False)
        self.register_buffer("later", torch.ones(n, n, dtype=torch.bool).triu(1), persistent=False)

    def begin(self):
        """Gives the parameters their first values."""

    def constrain(self):
        """After each step: keeps the parameters where the scheme allows them."""

    def tables(self):
        """Parameters that are no maps."""
        for name, tensor in self.named_children():
            if name not in self.maps:
                yield from tensor.parameters()

    def added_embedding(self):
        """(n, dim), or nothing: what the embedding of the tokens gets in addition, in this unit."""
        return None

    def turned(self, q, k):
        return q, k

    def added(self, q, k, layer):
        """What the scaled products of q and k get in addition, (b, h, i, j) or (h, i, j) with -inf at keys after the
        query, or nothing. `layer` has the projections attn_q and attn_k."""
        return None

    def attention(self, q, k, v, layer):
        """(b, h, i, d) from q (b, h, i, d) and k, v (b, g, j, d)."""
        added = self.added(q, k, layer)
        q, k = self.turned(q, k)
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=added, is_causal=added is None, scale=self.scale, enable_gqa=True
        )

    def of_every_query_head(self, k):
        return k.repeat_interleave(self.n_heads // self.n_kv_heads, 1)


# --- Absolute ---------------------------------------------------------------------------------------------------------


class Sinusoidal(Fast, positions.Sinusoidal):
    """Interleaved. In the paper, tokens have embeddings of unit variance beside these waves. Ours, as those of all
    models here, begin smaller and grow to about 0.1, so the waves are made smaller instead, and the file has the whole
    residual stream larger. At 0.1 and at 0.25 the model learns equally well; as small as SPREAD, its waves drown."""

    absolute = True
    unit = 0.25

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.register_buffer("waves", self.unit * self.embedding(self.distances).float(), persistent=False)

    def added_embedding(self):
        return self.waves


class Learned(Fast, positions.Learned):
    absolute = True
    shared = positions.ALWAYS_SHARED

    def begin(self):
        self.position_embd.weight.normal_(std=SPREAD)

    def added_embedding(self):
        return self.embedding(self.distances)


# --- Rotary -----------------------------------------------------------------------------------------------------------


class Rope(Fast, positions.Rope):
    """Interleaved pairs, all dimensions."""

    @staticmethod
    def settings(config):
        return {"rope.dimension_count": config.head_dim, "rope.freq_base": config.rope_base}

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        frequency, _ = positions.frequencies(keys, self.base, self.rotated, len(self.distances), self.factors())
        angle = torch.outer(self.distances.double(), frequency)
        self.register_buffer("cos", angle.cos().float(), persistent=False)  # (i, pairs)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def turn(self, x):
        even, odd = x.float().unflatten(-1, (-1, 2)).unbind(-1)
        rotated = torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), -1)
        return rotated.flatten(-2).type_as(x)

    def turned(self, q, k):
        return self.turn(q), self.turn(k)


class Xpos(Rope, positions.Xpos):
    """Queries fade with their places as much as keys grow with theirs."""

    @staticmethod
    def settings(config):
        return {**Rope.settings(config), "position.scale_base": 512.0}

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        from_start = Pairs(self.distances[:, None], torch.zeros_like(self.distances)[:, None], None)
        fade = self.decay(from_start)[:, 0].repeat_interleave(2, -1)
        self.register_buffer("fade", fade.float(), persistent=False)  # (i, d)

    def turned(self, q, k):
        q, k = super().turned(q, k)
        return (q * self.fade).type_as(q), (k / self.fade).type_as(k)


# --- Biases -----------------------------------------------------------------------------------------------------------


class Bias(Fast):
    """The twin's bias of every distance, once, laid out for all pairs."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        if not any(True for _ in self.parameters()):
            self.register_buffer("fixed", self.of_pairs().float(), persistent=False)

    def of_pairs(self):
        distances = self.distances[:, None]
        by_distance = self.bias(Pairs(distances, torch.zeros_like(distances), None))[..., 0]  # (h, n)
        # Longest distance first, then nothing to see: query i's row begins at n - 1 - i.
        row = F.pad(by_distance.flip(-1), (0, len(distances) - 1), value=-math.inf)
        return row.unfold(-1, len(distances), 1).flip(-2)

    def added(self, q, k, layer):
        bias = self.fixed if hasattr(self, "fixed") else self.of_pairs()
        return bias.type_as(q)


class Alibi(Bias, positions.Alibi):
    @staticmethod
    def settings(config):
        return {"attention.max_alibi_bias": 8.0}


class T5(Bias, positions.T5):
    """Products are divided by sqrt(d), where T5's own are not: its bias is all that is tried here."""

    shared = ("attn_rel_b",)

    @staticmethod
    def settings(config):
        return {"attention.relative_buckets_count": 32, "position.max_distance": 128, "position.unscaled": False}

    def begin(self):
        self.attn_rel_b.weight.normal_(std=self.dim**-0.5)


class Kerple(Bias, positions.Kerple):
    @staticmethod
    def settings(config):
        return {"position.kind": "log"}

    def begin(self):
        self.attn_rel_p.weight.uniform_(0, 2)
        self.attn_rel_a.weight.uniform_(0, 1)
        self.constrain()

    def constrain(self):
        for tensor in (self.attn_rel_p, self.attn_rel_a):
            tensor.weight.clamp_(min=0.01)


class Sandwich(Bias, positions.Sandwich):
    @staticmethod
    def settings(config):
        return {"position.dims": 128}


class Fire(Bias, positions.Fire):
    """The threshold begins at a quarter of the training length, as the paper's 512 of 2,048."""

    @staticmethod
    def settings(config):
        return {"shape.hidden": 32}

    def begin(self):
        self.attn_rel_c.weight.fill_(0.1)
        self.attn_rel_length.weight.fill_(len(self.distances) / 4)
        for tensor, n_inputs in ((self.attn_rel_in, 1), (self.attn_rel_out, self.attn_rel_out.weight.size(1))):
            for parameter in tensor.parameters():
                parameter.uniform_(-(n_inputs**-0.5), n_inputs**-0.5)

    def of_pairs(self):  # the query's place matters, too
        pairs = Pairs(self.distances[:, None], self.distances, None)
        return self.bias(pairs).masked_fill(self.later, -math.inf)


# --- Relative vectors and content -------------------------------------------------------------------------------------


class Shaw(Fast, positions.Shaw):
    """Distances up to 16, and no vectors for values, which the paper found to add nothing."""

    @staticmethod
    def settings(config):
        return {"shape.rows": 17}

    def begin(self):
        self.attn_rel_k.weight.normal_(std=SPREAD)

    def added(self, q, k, layer):
        table = self.attn_rel_k.weight
        vectors = table[self.distances.flip(0).clamp(max=len(table) - 1)]
        return (self.scale * by_key(q @ vectors.T)).masked_fill(self.later, -math.inf)


class TransformerXL(Fast, positions.TransformerXL):
    """Without memory: every window is a segment of its own."""

    shared = ("attn_rel_u", "attn_rel_v")
    maps = ("attn_rel",)

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        frequency = 10000.0 ** -(torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angle = torch.outer(self.distances.flip(0).double(), frequency)
        self.register_buffer("waves", torch.cat((angle.sin(), angle.cos()), -1).float(), persistent=False)

    def begin(self):
        for tensor in (self.attn_rel, self.attn_rel_u, self.attn_rel_v):
            tensor.weight.normal_(std=SPREAD)

    def turned(self, q, k):
        return q + self.attn_rel_u.weight[:, None].type_as(q), k

    def added(self, q, k, layer):
        vectors = self.of_query_heads(F.linear(self.waves, self.attn_rel.weight))  # (h, n - 1 - distance, d)
        products = (q + self.attn_rel_v.weight[:, None].type_as(q)) @ vectors.transpose(-1, -2)
        return (self.scale * by_key(products)).masked_fill(self.later, -math.inf)


class Disentangled(Fast, positions.Disentangled):
    """As DeBERTa-v2 and v3 have it: a normalised table that the layers share, through the layers' own projections, and
    half as many buckets as the training length, half of these exact."""

    shared = ("attn_rel", "attn_rel_norm")

    @staticmethod
    def settings(config):
        return {
            "position.buckets": config.seq_len // 4 * 2,
            "position.max_distance": config.seq_len,
            "position.norm_epsilon": 1e-7,
            "position.share_att_key": True,
        }

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.scale = (self.head_dim * 3) ** -0.5  # three kinds of products
        self.register_buffer("buckets", self.bucket(self.distances), persistent=False)

    def begin(self):
        self.attn_rel.weight.normal_(std=SPREAD)

    def added(self, q, k, layer):
        table = self.attn_rel_norm(self.attn_rel.weight)
        keys = self.of_query_heads(layer.attn_k(table))[:, self.buckets.flip(0)]  # (h, n - 1 - distance, d)
        queries = layer.attn_q(table).unflatten(-1, (self.n_heads, self.head_dim)).movedim(-2, 0)[:, self.buckets]
        from_content = by_key(q @ keys.transpose(-1, -2))
        to_content = by_query(self.of_every_query_head(k) @ queries.transpose(-1, -2))
        return (self.scale * (from_content + to_content)).masked_fill(self.later, -math.inf)


class Cope(Fast, positions.Cope):
    @staticmethod
    def settings(config):
        return {"shape.rows": 64}

    def added(self, q, k, layer):
        products = self.scale * q @ self.of_every_query_head(k).transpose(-1, -2)
        gates = products.sigmoid().float().masked_fill(self.later, 0)
        place = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=len(self.attn_rel.weight) - 1)
        at_places = q @ self.attn_rel.weight.T  # (b, h, i, places)
        below, above = (at_places.gather(-1, border.long()) for border in (place.floor(), place.ceil()))
        return torch.lerp(below.float(), above.float(), place.frac()).masked_fill(self.later, -math.inf).type_as(q)


SCHEMES = {
    "none": Fast,
    "sinusoidal": Sinusoidal,
    "learned": Learned,
    "rope": Rope,
    "xpos": Xpos,
    "alibi": Alibi,
    "t5": T5,
    "shaw": Shaw,
    "transformer-xl": TransformerXL,
    "disentangled": Disentangled,
    "kerple": Kerple,
    "sandwich": Sandwich,
    "fire": Fire,
    "cope": Cope,
}
