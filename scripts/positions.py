"""Every position scheme of longhand in PyTorch, as its paper writes it: the score of each pair of a query i and a key j
from scratch, with no cache, no table and no trick. longhand must compute the same numbers the fast way.

A model is described by the keys of its GGUF file, and its parameters are named as the tensors of that file, so that
scripts/reference.py writes both as they are. Keys are given without their prefix "longhand.":

    position.type                 one of SCHEMES, or a list with one for each layer
    attention.sliding_window      keys a query sees, its own included; 0: all; a number, or one a layer
    attention.chunk_size          a query at i sees keys from floor(i / size) * size - attention.memory_length on
    attention.temperature_scale   queries grow by 1 + scale * ln(floor((i + 1) / floor) + 1), floor being
                                  attention.temperature_floor (Llama-4)

Each scheme says which other keys and tensors it has. Keys "shape.*" are not in the file: its tensors say it.
scripts/check_positions.py holds the schemes against the code of others.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

# Shapes: i queries, j keys, h heads, d = head dimension, t pairs of dimensions that turn together.


@dataclass(frozen=True)
class Pairs:
    """All pairs of a query and a key of one layer, as matrices (i, j)."""

    query: torch.Tensor  # the position i
    key: torch.Tensor  # the position j
    visible: torch.Tensor  # whether the query sees the key

    @property
    def distance(self):
        """i - j; 0 for the keys after the query, which nobody sees."""
        return (self.query - self.key).clamp(min=0)


class Weight(nn.Module):
    """A tensor NAME.weight of the file, and NAME.bias where it has one. `draw` makes a weight of normally distributed
    numbers: one that the scheme allows and that makes a difference."""

    def __init__(self, *shape, bias=0, draw=lambda x: x):
        super().__init__()
        self.draw = draw
        self.weight = nn.Parameter(torch.zeros(shape))
        if bias:
            self.bias = nn.Parameter(torch.zeros(bias))


def value_of_layer(keys, name, layer, default):
    value = keys.get(name, default)
    return value[layer] if isinstance(value, list) else value


# --- Schemes ----------------------------------------------------------------------------------------------------------


class Scheme(nn.Module):
    """What a layer knows about positions. This one knows nothing: NoPE (Kazemnejad et al. 2023, arXiv:2305.19466)."""

    def __init__(self, keys, layer):
        super().__init__()
        self.dim = keys["embedding_length"]
        self.n_heads = keys["attention.head_count"]
        self.n_kv_heads = keys["attention.head_count_kv"]
        self.head_dim = head_dim_of(keys)
        self.scale = self.head_dim**-0.5

    def embedding(self, positions):
        """(i, dim): what the embedding of the tokens gets in addition; only absolute schemes have it."""
        return 0.0

    def scores(self, q, k, pairs, layer):
        """(h, i, j) from q (h, i, d) and k (h, j, d)."""
        return self.scale * torch.einsum("hid,hjd->hij", q, k)

    def mix(self, weights, v, pairs):
        """(h, i, d): the values (h, j, d) by their weights (h, i, j)."""
        return torch.einsum("hij,hjd->hid", weights, v)

    def of_query_heads(self, x):
        """(..., n_kv_heads * d) -> (h, ..., d): neighbouring query heads share a key head."""
        by_head = x.unflatten(-1, (self.n_kv_heads, self.head_dim)).movedim(-2, 0)
        return by_head.repeat_interleave(self.n_heads // self.n_kv_heads, 0)


def head_dim_of(keys):
    return keys.get("attention.key_length", keys["embedding_length"] // keys["attention.head_count"])


class Bias(Scheme):
    """What the schemes have in common that add a number by distance and head."""

    def bias(self, pairs):
        """(h, i, j): what is added to the scaled products."""
        raise NotImplementedError

    def scores(self, q, k, pairs, layer):
        return super().scores(q, k, pairs, layer) + self.bias(pairs).type_as(q)


class Sinusoidal(Scheme):
    """Vaswani et al. 2017 (arXiv:1706.03762). position.layout: interleaved (as in the paper), concatenated (as in
    Transformer-XL) or fairseq (concatenated, the slowest wave turning 1 / base a place); position.offset: the first
    place; position.base."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.layout = keys.get("position.layout", "interleaved")
        self.offset = keys.get("position.offset", 2 if self.layout == "fairseq" else 0)
        self.base = keys.get("position.base", 10000.0)

    def embedding(self, positions):
        steps = self.dim / 2 - 1 if self.layout == "fairseq" else self.dim / 2
        frequency = self.base ** -(torch.arange(self.dim // 2, dtype=torch.float64) / steps)
        angle = (positions[:, None] + self.offset) * frequency
        waves = torch.stack((angle.sin(), angle.cos()), -1)
        return (waves if self.layout == "interleaved" else waves.transpose(-1, -2)).flatten(-2)


class Learned(Scheme):
    """position_embd (places, dim); position.offset rows of it are skipped (OPT: 2)."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.offset = keys.get("position.offset", 0)
        self.position_embd = Weight(keys["context_length"] + self.offset, self.dim)

    def embedding(self, positions):
        return self.position_embd.weight[positions + self.offset]


class Rope(Scheme):
    """Su et al. 2021 (arXiv:2104.09864). rope.freq_base, a number or one a layer; rope.dimension_count, the dimensions
    of a head that turn; position.pairs interleaved: (2t, 2t + 1), or halves: (t, t + dimension_count / 2).
    rope.scaling.*: see frequencies()."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.keys = keys
        self.rotated = keys.get("rope.dimension_count", self.head_dim)
        self.base = value_of_layer(keys, "rope.freq_base", layer, 10000.0)
        self.halves = keys.get("position.pairs", "interleaved") == "halves"
        if keys.get("rope.scaling.type") == "longrope":
            for name in ("rope_factors_short", "rope_factors_long"):
                factors = Weight(self.rotated // 2, draw=lambda x: x.abs().sort().values * 16 + 1)
                setattr(self, name, factors.requires_grad_(False))

    def split(self, x):
        """(h, n, d) -> both sides of the pairs (h, n, t), and what does not turn."""
        turning, rest = x[..., : self.rotated], x[..., self.rotated :]
        shape = (2, -1) if self.halves else (-1, 2)
        a, b = turning.unflatten(-1, shape).unbind(-2 if self.halves else -1)
        return a, b, rest

    def factors(self):
        """Divisors of the frequencies by pair: (short texts, long texts)."""
        if self.keys.get("rope.scaling.type") == "longrope":
            return self.rope_factors_short.weight.double(), self.rope_factors_long.weight.double()
        return 1.0, 1.0

    def turns(self, pairs):
        """Angles (i, j, t) between the query and the key, and the factor (i, 1) of the score: m of both sides. Where
        the frequencies follow the length, all keys turn as the length at the query demands."""
        n = len(pairs.query)
        follows = self.keys.get("rope.scaling.type", "none").startswith("dynamic")
        lengths = range(1, n + 1) if follows else [n] * n
        by_length = {
            length: frequencies(self.keys, self.base, self.rotated, length, self.factors()) for length in set(lengths)
        }
        frequency = torch.stack([by_length[length][0] for length in lengths])
        m = torch.tensor([by_length[length][1] for length in lengths], dtype=torch.float64)
        return pairs.distance[..., None] * frequency[:, None, :], (m**2)[:, None]

    def decay(self, pairs):
        """(i, j, t): factors of the pairs' products."""
        return 1.0

    def scores(self, q, k, pairs, layer):
        # The query turned by the angle, times the key:
        #     (qa cos - qb sin) ka + (qa sin + qb cos) kb = (qa ka + qb kb) cos + (qa kb - qb ka) sin
        qa, qb, q_rest = (x.unsqueeze(2) for x in self.split(q))
        ka, kb, k_rest = (x.unsqueeze(1) for x in self.split(k))
        angle, m_squared = self.turns(pairs)
        cos, sin = (factor.type_as(q) for factor in (angle.cos() * self.decay(pairs), angle.sin() * self.decay(pairs)))
        turned = ((qa * ka + qb * kb) * cos + (qa * kb - qb * ka) * sin).sum(-1)
        still = (q_rest * k_rest).sum(-1)
        return self.scale * (m_squared.type_as(q) * turned + still)


def frequencies(keys, base, rotated, length, factors):
    """(frequency (t) in radians a position, m) of a text of `length` tokens. rope.scaling.type and its keys:

    linear         factor (Chen et al. 2023, arXiv:2306.15595)
    ntk            factor: a larger base, such that the slowest pair turns `factor` times slower
    dynamic        the same, by the length of the text past original_context_length
    yarn           factor, original_context_length, yarn_beta_fast, yarn_beta_slow, truncate (Peng et al. 2023,
                   arXiv:2309.00071); m: attention_factor; or attn_factor times what mscale and mscale_all_dim make of
                   the factor, or 0.1 ln(factor) + 1
    dynamic-yarn   the same, the factor being by how much the text is longer than original_context_length
    llama3         factor, original_context_length, low_freq_factor, high_freq_factor
    longrope       original_context_length and tensors rope_factors_short, rope_factors_long (Ding et al. 2024,
                   arXiv:2402.13753); m: attn_factor, or sqrt(1 + ln(factor) / ln(original_context_length))
    """
    prefix = "rope.scaling."
    scaling = {key.removeprefix(prefix): value for key, value in keys.items() if key.startswith(prefix)}
    kind = scaling.get("type", "none")
    original = scaling.get("original_context_length", keys["context_length"])
    factor = scaling.get("factor", keys["context_length"] / original)
    if kind == "dynamic":
        factor = max(1.0, factor * length / original - (factor - 1))
    if kind == "dynamic-yarn":
        factor = max(1.0, length / original)
    if kind in ("ntk", "dynamic"):
        base = base * factor ** (rotated / (rotated - 2))
    frequency = base ** -(torch.arange(0, rotated, 2, dtype=torch.float64) / rotated)

    if kind == "linear":
        return frequency / factor, 1.0
    if kind in ("yarn", "dynamic-yarn"):
        kept = yarn_share(scaling, base, rotated, original)
        return frequency * (kept + (1 - kept) / factor), yarn_m(scaling, factor)
    if kind == "llama3":
        low, high = scaling.get("low_freq_factor", 1.0), scaling.get("high_freq_factor", 4.0)
        turns = original * frequency / (2 * math.pi)  # of a pair within the text trained on
        kept = ((turns - low) / (high - low)).clamp(0, 1)
        return frequency * (kept + (1 - kept) / factor), 1.0
    if kind == "longrope":
        m = scaling.get("attn_factor", math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0)
        return frequency / (factors[1] if length > original else factors[0]), m
    return frequency, 1.0


def yarn_share(scaling, base, rotated, original):
    """(t) how much of its frequency a pair keeps: 1 down to 0 between those that turn beta_fast and beta_slow times."""

    def pair_of(n_turns):
        return rotated * math.log(original / (n_turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair_of(scaling.get("yarn_beta_fast", 32.0)), pair_of(scaling.get("yarn_beta_slow", 1.0))
    if scaling.get("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, rotated - 1)
    pair = torch.arange(rotated // 2, dtype=torch.float64)
    return 1 - ((pair - first) / max(last - first, 0.001)).clamp(0, 1)


def yarn_m(scaling, factor):
    def m_of(mscale):
        return 0.1 * mscale * math.log(factor) + 1 if factor > 1 else 1.0

    if scaling.get("attention_factor"):
        return scaling["attention_factor"]
    m = m_of(1.0)
    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        m = m_of(scaling["mscale"]) / m_of(scaling["mscale_all_dim"])
    return m * scaling.get("attn_factor", 1.0)


class Xpos(Rope):
    """Sun et al. 2022 (arXiv:2212.10554): RoPE whose pairs fade with the distance, the fast ones sooner.
    position.scale_base."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.scale_base = keys.get("position.scale_base", 512.0)

    def decay(self, pairs):
        pair = torch.arange(0, self.rotated, 2, dtype=torch.float64) / self.rotated
        zeta = (pair + 0.4) / 1.4
        return zeta ** (pairs.distance[..., None] / self.scale_base)


class Alibi(Bias):
    """Press et al. 2021 (arXiv:2108.12409). attention.max_alibi_bias; position.scaled: the bias is divided by sqrt(d),
    too (Falcon-RW)."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        most = keys["attention.max_alibi_bias"]
        power = 2 ** math.floor(math.log2(self.n_heads))
        self.slopes = [
            2 ** (-most * (h + 1) / power) if h < power else 2 ** (-most * (2 * (h - power) + 1) / (2 * power))
            for h in range(self.n_heads)
        ]
        if keys.get("position.scaled", False):
            self.slopes = [slope * self.scale for slope in self.slopes]

    def bias(self, pairs):
        return torch.stack([-slope * pairs.distance.double() for slope in self.slopes])


class T5(Bias):
    """Raffel et al. 2019 (arXiv:1910.10683). attn_rel_b (buckets, heads); attention.relative_buckets_count;
    position.max_distance; position.unscaled: products are not divided by sqrt(d)."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.n_buckets = keys["attention.relative_buckets_count"]
        self.max_distance = keys.get("position.max_distance", 128)
        self.attn_rel_b = Weight(self.n_buckets, self.n_heads, draw=lambda x: 6 * x)
        if keys.get("position.unscaled", True):
            self.scale = 1.0

    def bias(self, pairs):
        buckets = t5_buckets(pairs.distance, self.n_buckets, self.max_distance)
        return self.attn_rel_b.weight[buckets].movedim(-1, 0)


def t5_buckets(distance, n_buckets, max_distance):
    """One bucket for each short distance, then ever wider ones."""
    exact = n_buckets // 2
    octaves = (distance.clamp(min=1).double() / exact).log() / math.log(max_distance / exact)
    far = (exact + (octaves * (n_buckets - exact)).long()).clamp(max=n_buckets - 1)
    return torch.where(distance < exact, distance, far)


class Shaw(Scheme):
    """Shaw et al. 2018 (arXiv:1803.02155). attn_rel_k (K + 1, d) by distance, all longer ones sharing the last row;
    attn_rel_v, the same for values."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.attn_rel_k = Weight(keys["shape.rows"], self.head_dim, draw=lambda x: 4 * x)
        if keys.get("shape.values", False):
            self.attn_rel_v = Weight(keys["shape.rows"], self.head_dim, draw=lambda x: 4 * x)

    def vectors(self, table, pairs):
        return table.weight[pairs.distance.clamp(max=len(table.weight) - 1)]  # (i, j, d)

    def scores(self, q, k, pairs, layer):
        relative = torch.einsum("hid,ijd->hij", q, self.vectors(self.attn_rel_k, pairs))
        return super().scores(q, k, pairs, layer) + self.scale * relative

    def mix(self, weights, v, pairs):
        mixed = super().mix(weights, v, pairs)
        if hasattr(self, "attn_rel_v"):
            mixed = mixed + torch.einsum("hij,ijd->hid", weights, self.vectors(self.attn_rel_v, pairs))
        return mixed


class TransformerXL(Scheme):
    """Dai et al. 2019 (arXiv:1901.02860). attn_rel (n_kv_heads * d, dim) is W_kR, attn_rel_u and attn_rel_v (heads, d);
    position.clamp_length: longer distances count as this one. Its memory is attention.memory_length."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.clamp_length = keys.get("position.clamp_length", 0)
        self.attn_rel = Weight(self.n_kv_heads * self.head_dim, self.dim)
        self.attn_rel_u = Weight(self.n_heads, self.head_dim, draw=lambda x: 3 * x)
        self.attn_rel_v = Weight(self.n_heads, self.head_dim, draw=lambda x: 3 * x)

    def scores(self, q, k, pairs, layer):
        distance = pairs.distance.clamp(min=0, max=self.clamp_length or None)
        frequency = 10000.0 ** -(torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        angle = distance[..., None] * frequency
        waves = torch.cat((angle.sin(), angle.cos()), -1).type_as(q)  # (i, j, dim)
        relative = self.of_query_heads(F.linear(waves, self.attn_rel.weight))  # (h, i, j, d)
        content = torch.einsum("hid,hjd->hij", q + self.attn_rel_u.weight[:, None], k)
        position = torch.einsum("hid,hijd->hij", q + self.attn_rel_v.weight[:, None], relative)
        return self.scale * (content + position)


class Disentangled(Scheme):
    """He et al. 2020 (arXiv:2006.03654, DeBERTa), for keys before the query. attn_rel (S, dim): an embedding of each
    bucket of distances; attn_rel_norm: a LayerNorm over it (position.norm_epsilon). attn_rel_k (n_kv_heads * d, dim)
    and bias make keys of it for the queries (content to position), attn_rel_q (heads * d, dim) and bias queries for the
    keys (position to content): either may be missing. With position.share_att_key the layer's own projections do both.
    position.buckets and position.max_distance; no buckets: each distance has a row, all longer ones share the last."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.n_buckets = keys.get("position.buckets", 0)
        self.max_distance = keys.get("position.max_distance", 0)
        self.share = keys.get("position.share_att_key", False)
        self.terms = keys.get("shape.terms", ["c2p", "p2c"])
        self.attn_rel = Weight(self.n_buckets or keys["shape.rows"], self.dim, draw=lambda x: 4 * x)
        if epsilon := keys.get("position.norm_epsilon"):
            self.attn_rel_norm = nn.LayerNorm(self.dim, epsilon)
        if "c2p" in self.terms and not self.share:
            self.attn_rel_k = Weight(self.n_kv_heads * self.head_dim, self.dim, bias=self.n_kv_heads * self.head_dim)
        if "p2c" in self.terms and not self.share:
            self.attn_rel_q = Weight(self.n_heads * self.head_dim, self.dim, bias=self.n_heads * self.head_dim)

    def bucket(self, distance):
        if not self.n_buckets:
            return distance.clamp(max=len(self.attn_rel.weight) - 1)
        middle = self.n_buckets // 2
        octaves = (distance.clamp(min=1).double() / middle).log() / math.log((self.max_distance - 1) / middle)
        far = (middle + (octaves * (middle - 1)).ceil().long()).clamp(max=self.n_buckets - 1)
        return torch.where(distance <= middle, distance, far)

    def scores(self, q, k, pairs, layer):
        embedding = self.attn_rel.weight
        if hasattr(self, "attn_rel_norm"):
            embedding = self.attn_rel_norm(embedding)
        embedding = embedding[self.bucket(pairs.distance)]  # (i, j, dim)
        terms = [torch.einsum("hid,hjd->hij", q, k)]
        if "c2p" in self.terms:
            projection = layer.attn_k if self.share else self.attn_rel_k
            keys = self.of_query_heads(F.linear(embedding, projection.weight, projection.bias))
            terms.append(torch.einsum("hid,hijd->hij", q, keys))
        if "p2c" in self.terms:
            projection = layer.attn_q if self.share else self.attn_rel_q
            queries = F.linear(embedding, projection.weight, projection.bias)
            queries = queries.unflatten(-1, (self.n_heads, self.head_dim)).movedim(-2, 0)
            terms.append(torch.einsum("hjd,hijd->hij", k, queries))
        return sum(terms) / math.sqrt(self.head_dim * len(terms))


class Kerple(Bias):
    """Chi et al. 2022 (arXiv:2205.09921). attn_rel_p and attn_rel_a (heads) > 0; position.kind log or power."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.kind = keys.get("position.kind", "log")
        self.attn_rel_p = Weight(self.n_heads, draw=lambda x: (4 * x).abs().clamp(0.05, 1.9))
        self.attn_rel_a = Weight(self.n_heads, draw=lambda x: (4 * x).abs().clamp(0.05, 1.9))

    def bias(self, pairs):
        p, a = self.attn_rel_p.weight[:, None, None], self.attn_rel_a.weight[:, None, None]
        distance = pairs.distance.to(p.dtype)
        return -p * (1 + a * distance).log() if self.kind == "log" else -a * distance**p


class Sandwich(Bias):
    """Chi et al. 2022 (arXiv:2212.10356): the product of two sinusoidal embeddings. position.dims, of those;
    position.first: the number of the first wave, 0 or 1."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.dims = keys.get("position.dims", 128)
        self.first = keys.get("position.first", 0)

    def bias(self, pairs):
        wave = torch.arange(self.first, self.first + self.dims // 2, dtype=torch.float64)
        angle = pairs.distance[..., None] * 10000.0 ** (-2 * wave / self.dims)
        likeness = angle.cos().sum(-1) - self.dims / 2
        return torch.stack([likeness / (8 * (head + 1) / self.n_heads) for head in range(self.n_heads)])


class Fire(Bias):
    """Li et al. 2023 (arXiv:2310.04418). attn_rel_c (1), attn_rel_length (1), and the perceptron over the distance:
    attn_rel_in (hidden) and bias, attn_rel_out (heads, hidden) and bias."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        n_hidden = keys["shape.hidden"]
        self.attn_rel_c = Weight(1, draw=lambda x: x.abs() + 0.1)
        self.attn_rel_length = Weight(1, draw=lambda x: x.abs() * 40 + 20)
        self.attn_rel_in = Weight(n_hidden, bias=n_hidden, draw=lambda x: 8 * x)
        self.attn_rel_out = Weight(self.n_heads, n_hidden, bias=self.n_heads, draw=lambda x: 4 * x)

    def bias(self, pairs):
        def psi(x):
            return (self.attn_rel_c.weight.abs() * x + 1).log()

        longest = torch.maximum(pairs.query, self.attn_rel_length.weight.abs())
        share = psi(pairs.distance) / (psi(longest) + 1e-6)
        hidden = F.relu(share[..., None] * self.attn_rel_in.weight + self.attn_rel_in.bias)
        return F.linear(hidden, self.attn_rel_out.weight, self.attn_rel_out.bias).movedim(-1, 0)


class Cope(Scheme):
    """Golovneva et al. 2024 (arXiv:2405.18719): how many keys from this one on the query finds worth counting.
    attn_rel (places, d)."""

    def __init__(self, keys, layer):
        super().__init__(keys, layer)
        self.attn_rel = Weight(keys["shape.rows"], self.head_dim)

    def scores(self, q, k, pairs, layer):
        scores = super().scores(q, k, pairs, layer)
        gates = torch.where(pairs.visible, scores.sigmoid(), 0.0)
        later = (pairs.query >= pairs.key).type_as(gates)  # of two keys (t, j): whether t is no earlier than j
        place = torch.einsum("hit,tj->hij", gates, later).clamp(max=len(self.attn_rel.weight) - 1)
        at_places = torch.einsum("hid,pd->hip", q, self.attn_rel.weight)
        below, above = (at_places.gather(-1, border.long()) for border in (place.floor(), place.ceil()))
        share = place - place.floor()
        return scores + (1 - share) * below + share * above


SCHEMES = {
    "none": Scheme,
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
# Tensors that no layer has for itself.
ALWAYS_SHARED = ("position_embd", "rope_factors_short", "rope_factors_long")


def share(schemes, names):
    """Lets all schemes have the first one's tensors of these names."""
    first = {}
    for scheme in schemes:
        for name, tensor in list(scheme.named_children()):
            if name in names:
                setattr(scheme, name, first.setdefault(name, tensor))


def add_keys(writer, architecture, keys):
    """To a gguf.GGUFWriter."""
    add = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in keys.items():
        if not key.startswith("shape."):
            add[type(value)](f"{architecture}.{key}", value)


# --- The decoder: Llama's, without biases -----------------------------------------------------------------------------


class Layer(nn.Module):
    def __init__(self, keys, number):
        super().__init__()
        dim, hidden_dim, head_dim = keys["embedding_length"], keys["feed_forward_length"], head_dim_of(keys)
        self.head_dim = head_dim
        self.group = keys["attention.head_count"] // keys["attention.head_count_kv"]
        self.window = value_of_layer(keys, "attention.sliding_window", number, 0)
        self.chunk = value_of_layer(keys, "attention.chunk_size", number, 0)
        self.memory = value_of_layer(keys, "attention.memory_length", number, 0)
        self.temperature_scale = value_of_layer(keys, "attention.temperature_scale", number, 0.0)
        self.temperature_floor = value_of_layer(keys, "attention.temperature_floor", number, 8192.0)

        self.attn_norm = nn.RMSNorm(dim, keys["attention.layer_norm_rms_epsilon"])
        self.attn_q = nn.Linear(dim, keys["attention.head_count"] * head_dim, bias=False)
        self.attn_k = nn.Linear(dim, keys["attention.head_count_kv"] * head_dim, bias=False)
        self.attn_v = nn.Linear(dim, keys["attention.head_count_kv"] * head_dim, bias=False)
        self.attn_output = nn.Linear(keys["attention.head_count"] * head_dim, dim, bias=False)
        self.ffn_norm = nn.RMSNorm(dim, keys["attention.layer_norm_rms_epsilon"])
        self.ffn_gate = nn.Linear(dim, hidden_dim, bias=False)
        self.ffn_up = nn.Linear(dim, hidden_dim, bias=False)
        self.ffn_down = nn.Linear(hidden_dim, dim, bias=False)
        self.position = SCHEMES[value_of_layer(keys, "position.type", number, "none")](keys, number)

    def pairs(self, n):
        query, key = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
        visible = key <= query
        if self.window:
            visible &= query - key < self.window
        if self.chunk:
            visible &= key >= query // self.chunk * self.chunk - self.memory
        return Pairs(query, key, visible)

    def temperature(self, positions):
        return 1 + self.temperature_scale * ((positions + 1) // self.temperature_floor + 1).double().log()

    def attention(self, x):
        pairs = self.pairs(len(x))
        q, k, v = (
            w(x).unflatten(-1, (-1, self.head_dim)).movedim(1, 0) for w in (self.attn_q, self.attn_k, self.attn_v)
        )
        q = q * self.temperature(pairs.query[:, :1]).type_as(q)
        k, v = k.repeat_interleave(self.group, 0), v.repeat_interleave(self.group, 0)
        scores = self.position.scores(q, k, pairs, self).masked_fill(~pairs.visible, -math.inf)
        mixed = self.position.mix(scores.softmax(-1), v, pairs)
        return self.attn_output(mixed.movedim(0, 1).flatten(1))

    def forward(self, x):
        x = x + self.attention(self.attn_norm(x))
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))


class Transformer(nn.Module):
    """The first layer says what its scheme adds to the embedding. `shared`: names of position tensors that the layers
    have in common; `tied`: the output projection is the embedding table."""

    def __init__(self, keys, shared=(), tied=True):
        super().__init__()
        self.keys = keys
        self.shared = (*shared, *ALWAYS_SHARED)
        self.token_embd = nn.Embedding(keys["vocab_size"], keys["embedding_length"])
        self.blk = nn.ModuleList(Layer(keys, number) for number in range(keys["block_count"]))
        self.output_norm = nn.RMSNorm(keys["embedding_length"], keys["attention.layer_norm_rms_epsilon"])
        if not tied:
            self.output = nn.Linear(keys["embedding_length"], keys["vocab_size"], bias=False)
        share([layer.position for layer in self.blk], self.shared)

    def forward(self, ids):  # (i) -> logits (i, vocab_size)
        x = self.token_embd(ids)
        x = x + torch.as_tensor(self.blk[0].position.embedding(torch.arange(len(ids)))).type_as(x)
        for layer in self.blk:
            x = layer(x)
        output = self.output if hasattr(self, "output") else self.token_embd
        return F.linear(self.output_norm(x), output.weight)

    def randomize(self, spread, seed):
        """Normally distributed weights of this spread; those of norms about 1."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            parameter.data.normal_(std=spread, generator=generator)
            if name.endswith("norm.weight"):
                parameter.data += 1
        for module in self.modules():
            if isinstance(module, Weight):
                module.weight.data = module.draw(module.weight.data)

    def tensors(self):
        """(name in the file, parameter)."""
        for name, parameter in self.named_parameters():
            layer, _, of_scheme = name.partition(".position.")
            if of_scheme.split(".")[0] in self.shared:
                yield of_scheme, parameter
            else:
                yield f"{layer}.{of_scheme}" if of_scheme else name, parameter
