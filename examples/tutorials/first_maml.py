"""
First MAML in ten minutes
=========================

We meta-train a small network so that five steps of gradient descent on ten points are enough to fit a new sine
wave. It takes less than a minute on a CPU.

You need metagrad and nothing else. No data is downloaded.
"""

# %%
# Tasks
# -----
#
# A *task* is a small learning problem. It has a *support set*, on which the model adapts, and a *query set*, on
# which we measure how well it did. ``Sinusoids`` draws sine waves of random amplitude and phase.

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

import metagrad
from metagrad.data.regression import Sinusoids

torch.manual_seed(0)
torch.set_num_threads(1)  # tensors this small are not worth sharing
tasks, draws = Sinusoids(), torch.Generator().manual_seed(0)

batch = tasks.sample(3, draws)  # three tasks: every tensor has a leading axis of three
print("support inputs", tuple(batch.support.inputs.shape), "query inputs", tuple(batch.query.inputs.shape))

# %%
# A model and a learner
# ---------------------
#
# Any ``nn.Module`` will do. ``MetaLearner`` wraps it with a loss, a rule for the inner steps, and their number K.
# The *estimator* says how the gradient goes back through the inner steps. ``Exact()`` is MAML.

model = nn.Sequential(nn.Linear(1, 40), nn.ReLU(), nn.Linear(40, 40), nn.ReLU(), nn.Linear(40, 1))
learner = metagrad.MetaLearner(model, F.mse_loss, rule=metagrad.SGD(lr=0.01), num_steps=5, estimator=metagrad.Exact())

# %%
# Before meta-training, five steps hardly help. ``evaluate`` gives the query loss after 0, 1, … 5 inner steps, one
# row a task.

held_out = tasks.sample(100, torch.Generator().manual_seed(1))
before = learner.evaluate(held_out).loss.mean(dim=0)
print("loss after 0…5 inner steps:", [f"{value:.2f}" for value in before])

# %%
# Meta-training
# -------------
#
# ``backward`` adapts to every task, measures the query loss, and adds the mean meta-gradient to ``.grad`` of the
# model's own parameters: the gradient of the loss *after* adaptation with respect to the weights *before* it. From
# there on it is ordinary PyTorch.

optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
losses = []
for step in range(400):
    optimizer.zero_grad()
    result = learner.backward(tasks.sample(25, draws))
    optimizer.step()
    losses.append(result.loss.mean().item())
    if step % 100 == 0:
        print(f"meta-step {step:3d}: query loss after adaptation {losses[-1]:.2f}")

# %%
# After meta-training, the same five steps fit a new sine wave.

after = learner.evaluate(held_out).loss.mean(dim=0)
print("loss after 0…5 inner steps:", [f"{value:.2f}" for value in after])

# %%
# Adapt to one task
# -----------------
#
# ``adapt`` takes a support set and returns a module that is ready to predict. The model itself stays as it was.

task = tasks.sample(1, torch.Generator().manual_seed(7))
support = task.take(0).support
adapted = learner.adapt(support)

grid = torch.linspace(-5, 5, 200).unsqueeze(1)
with torch.no_grad():
    plt.plot(grid, model(grid), "--", label="before adaptation")
    plt.plot(grid, adapted(grid), label="after 5 steps")
plt.plot(support.inputs, support.targets, "o", label="support set")
plt.legend()
plt.show()

# %%
# How exact must the meta-gradient be?
# ------------------------------------
#
# ``Exact`` computes K Hessian-vector products, one after another. ``FirstOrder`` computes none, and drops all
# curvature. ``probe`` measures the true relative error of an estimator on one task.

for estimator in (metagrad.FirstOrder(), metagrad.Truncated(window=2), metagrad.Exact()):
    other = metagrad.MetaLearner(model, F.mse_loss, metagrad.SGD(lr=0.01), num_steps=5, estimator=estimator)
    cost = estimator.cost(5)
    print(f"{estimator!r:22} products {cost.products}  error {other.probe(task).error:.2f}")

# %%
# An error of 1 is 100 %: no better than returning zero. Where to go from here: :doc:`/how-to/choose-an-estimator`,
# :doc:`/how-to/your-model`, and the next tutorial with images.
