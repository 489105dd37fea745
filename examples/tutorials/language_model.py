"""
A language model with LoRA
==========================

We meta-train a small language model so that a few steps of AdamW on eight short texts teach it a new language. Only
low-rank adapters (LoRA) adapt within a task. Everything here is made on the spot; nothing is downloaded.
"""

# %%
# Languages
# ---------
#
# A task is a language of twelve letters: after each letter, one of three others follows, with probabilities 0.7,
# 0.2 and 0.1. Which three is different in each language. So a model cannot know a new language beforehand, but it
# can learn *how to learn* one. Knowing a language fully leaves 0.80 nats a letter; knowing nothing leaves 2.48.

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import metagrad

torch.manual_seed(0)
torch.set_num_threads(1)  # tensors this small are not worth sharing
LETTERS, LENGTH, WIDTH = 12, 16, 32


def language(draws: torch.Generator) -> Tensor:
    """Probabilities of the next letter [letter, next]."""
    table = torch.zeros(LETTERS, LETTERS)
    for letter in range(LETTERS):
        table[letter, torch.randperm(LETTERS, generator=draws)[:3]] = torch.tensor([0.7, 0.2, 0.1])
    return table


def texts(table: Tensor, count: int, draws: torch.Generator) -> dict[str, Tensor]:
    """A batch as tokenizers give it: a mapping."""
    letters = [torch.randint(LETTERS, (count,), generator=draws)]
    for _ in range(LENGTH):
        letters.append(torch.multinomial(table[letters[-1]], 1, generator=draws).squeeze(1))
    return {"tokens": torch.stack(letters, dim=1)}


def task(draws: torch.Generator) -> metagrad.Task:
    """Eight texts to adapt on, eight others of the same language to measure on."""
    table = language(draws)
    return metagrad.Task(support=texts(table, 8, draws), query=texts(table, 8, draws))


print(task(torch.Generator().manual_seed(0)).support["tokens"][0].tolist())

# %%
# A model with adapters
# ---------------------
#
# A low-rank adapter adds a product of two thin matrices to a linear layer. One of them starts at zero, so that
# nothing changes before adaptation. With your own model, let PEFT put the adapters in: their parameters have
# ``lora_`` in their names too.


class LoRA(nn.Module):
    """A linear layer and its adapter."""

    def __init__(self, fan_in: int, fan_out: int, rank: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(fan_in, fan_out)
        self.lora_down = nn.Parameter(torch.randn(rank, fan_in) / fan_in**0.5)
        self.lora_up = nn.Parameter(torch.zeros(fan_out, rank))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + inputs @ self.lora_down.T @ self.lora_up.T


class SmallTransformer(nn.Module):
    """One block of causal attention and one of a feed-forward network."""

    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(LETTERS, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.mix, self.out = LoRA(WIDTH, 3 * WIDTH), LoRA(WIDTH, WIDTH)
        self.up, self.down, self.head = LoRA(WIDTH, 2 * WIDTH), LoRA(2 * WIDTH, WIDTH), LoRA(WIDTH, LETTERS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.letters(tokens) + self.places.weight[: tokens.shape[-1]]
        queries, keys, values = self.mix(self.before(x)).chunk(3, dim=-1)
        x = x + self.out(F.scaled_dot_product_attention(queries, keys, values, is_causal=True))
        return self.head(x + self.down(F.gelu(self.up(self.between(x)))))


# %%
# An objective
# ------------
#
# ``Objective`` takes your own function of the model and a batch. While it runs, ``model`` is your module with
# adapted parameters. A Hugging Face model would be ``lambda model, batch: model(**batch).loss``.


def next_letter(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Mean cross-entropy of the next letter, in nats."""
    tokens = batch["tokens"]
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


learner = metagrad.MetaLearner(
    SmallTransformer(),
    metagrad.Objective(next_letter),
    rule=metagrad.AdamW(lr=0.03, eps_root=1e-8),
    num_steps=5,
    estimator=metagrad.Exact(),
    adapts="*lora_*",
)
held_out = [task(torch.Generator().manual_seed(1000 + i)) for i in range(20)]


def curve() -> list[str]:
    return [f"{value:.2f}" for value in learner.evaluate(held_out).loss.mean(dim=0)]


print("before meta-training, nats after 0…5 inner steps:", curve())

# %%
# ``eps_root`` keeps the derivative of Adam's root bounded where a gradient is zero.
#
# Meta-train
# ----------
#
# The adapters *and* the rest of the model are meta-learned. The meta-gradient goes through five steps of AdamW.

optimizer = torch.optim.Adam(learner.parameters(), lr=1e-2)
draws = torch.Generator().manual_seed(0)
for step in range(80):
    optimizer.zero_grad()
    result = learner.backward([task(draws) for _ in range(8)])
    optimizer.step()
    if step % 20 == 0:
        print(f"meta-step {step:2d}: {result.loss.mean():.2f} nats after adaptation")

after = curve()
print("after meta-training, nats after 0…5 inner steps:", after)
assert float(after[-1]) < 1.7

# %%
# Ship the adapters
# -----------------
#
# ``adapt`` gives a module. Its adapters are all that a language needs: the rest is shared.

adapted = learner.adapt(held_out[0].support)
adapters = {name: value for name, value in adapted.model.state_dict().items() if "lora_" in name}
print(len(adapters), "tensors,", sum(value.numel() for value in adapters.values()), "numbers")
