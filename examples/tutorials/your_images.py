"""
Your own images
===============

We go from a folder of labelled images to a network that learns new classes from one example each. The images here
are drawn on the spot, so that this page runs anywhere. Put your own folders in their place.
"""

# %%
# Folders
# -------
#
# metagrad reads three folders, ``train``, ``val`` and ``test``. In each of them, every class has a folder of
# images. No class may be in two of them: the test is on classes that were never seen.

import math
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import metagrad
from metagrad.networks import Conv4, accuracy
from metagrad.data.folder import load_folder
from metagrad.data.images import ImageEpisodes

torch.manual_seed(0)
SIZE, PER_CLASS = 16, 12
home = tempfile.TemporaryDirectory()
DIR = Path(home.name)


def striped(angle: float, draws: np.random.Generator) -> Image.Image:
    """Stripes at an angle that is the same for the whole class, at a random phase, under noise."""
    across = np.linspace(-6, 6, SIZE)
    along = math.cos(angle) * across[:, None] + math.sin(angle) * across
    pixels = 0.5 + 0.4 * np.sin(along + draws.uniform(0, 2 * math.pi)) + draws.normal(0, 0.05, (SIZE, SIZE))
    return Image.fromarray((255 * pixels.clip(0, 1)).astype(np.uint8))


draws = np.random.default_rng(0)
for c in range(40):
    part = "train" if c % 5 < 3 else "val" if c % 5 == 3 else "test"
    folder = DIR / part / f"angle-{c:02d}"
    folder.mkdir(parents=True)
    for i in range(PER_CLASS):
        striped(math.pi * c / 40, draws).save(folder / f"{i}.png")

print(sorted(path.name for path in DIR.iterdir()), len(list((DIR / "train").iterdir())), "classes to train on")

# %%
# Episodes
# --------
#
# ``load_folder`` decodes the images once. ``ImageEpisodes`` draws tasks from them: 5 classes, 1 support image and 5
# query images of each. The classes of a task are numbered at random, so that a network cannot know them beforehand.

pools = load_folder(DIR, size=SIZE, cache=DIR / "cache")
train, test = (ImageEpisodes(pool, ways=5, shots=1, queries=5) for pool in (pools.train, pools.test))
task = train.sample(1, torch.Generator().manual_seed(0))
images, labels = task.support.inputs[0], task.support.targets[0]
print("support images", tuple(images.shape), "labels", labels.tolist())

figure, axes = plt.subplots(1, 5, figsize=(8, 2))
for axis, image, label in zip(axes, images, labels, strict=True):
    axis.imshow(image.permute(1, 2, 0).numpy())
    axis.set_title(f"class {label.item()}")
    axis.axis("off")
plt.show()

# %%
# Train
# -----
#
# ``adapts="head"`` adapts the last layer only, which is ANIL. The rest of the network is meta-learned all the same.
# Leave it out to adapt everything, which is MAML.

learner = metagrad.MetaLearner(
    Conv4(ways=5, filters=16, size=SIZE, channels=images.shape[1]),
    F.cross_entropy,
    rule=metagrad.SGD(lr=0.5),
    num_steps=5,
    estimator=metagrad.Exact(),
    adapts="head",
    metrics={"accuracy": accuracy},
)
optimizer = torch.optim.Adam(learner.parameters(), lr=2e-3)
generator = torch.Generator().manual_seed(1)
for step in range(40):
    optimizer.zero_grad()
    result = learner.backward(train.sample(8, generator))
    optimizer.step()
    if step % 20 == 0:
        print(f"meta-step {step:2d}: accuracy after adaptation {result.metrics['accuracy'].mean():.2f}")

# %%
# Test on new classes
# -------------------

curve = learner.evaluate(test.sample(50, generator)).metrics["accuracy"].mean(dim=0)
print("accuracy after 0…5 inner steps:", [f"{value:.2f}" for value in curve])
assert curve[-1] > 0.4  # chance is 0.2

# %%
# At the command line the same folder is ``metagrad train folder-5way-1shot --data DIR``. :doc:`/how-to/data` lists
# every form in which metagrad reads published data sets, Hugging Face ``datasets`` among them.

home.cleanup()
