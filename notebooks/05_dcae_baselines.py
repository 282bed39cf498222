# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (dcae-{machine})=
# # Auto-encoder baselines: {machine}
#
# The usual way to detect anomalous sounds is an **auto-encoder**: a network that compresses an image to few numbers, its *encoder*, and
# reconstructs the image from them, its *decoder*. It is trained on normal sound only. The idea is that it reconstructs normal images well and anomalous
# ones badly, so that the error of the reconstruction can serve as the anomaly score. The paper compares its method with two deep convolutional auto-encoders (DCAE, §5.2).

# %% tags=["parameters", "remove-cell"]
machine = "fan"  # machine type: fan, pump, slider or valve
profile = "miniature"  # a file of profiles/ or the path of one; it says what is None below
data = None  # folder of the recordings, laid out as MIMII is
snr = None  # signal-to-noise ratio, in dB
ids = None  # machine IDs, such as ["id_00", "id_02"]
extractors = None  # feature extractors, such as ["squeezenet1_1"]
detectors = None  # detectors, such as ["gmm", "kde"]
seeds = None  # seeds, such as [0, 1]: each draws a split and starts the detectors
weights = None  # folder of weight files
settings = None  # settings by name, such as {"imaging.hop": 512}

# %%
from mimii_lib.pages import figures, run_box, tables
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown] tags=["once"]
# ## Two networks
#
# :::{admonition} The paper says
# :class: paper
# **LeNet-DCAE**: three convolutions with 32, 64 and 128 channels, kernel 5, ELU {cite:p}`clevert2016fast`, batch normalisation
# {cite:p}`ioffe2015batch`, and a bottleneck of 128 numbers. **Small-DCAE**: 12, 24 and 48 channels, kernel 4, ReLU. The decoders mirror the encoders.
# Both are trained by Adam {cite:p}`kingma2015adam` with a learning rate of 10⁻⁴ in batches of 128 for 80 epochs. The mean squared error is
# the loss and the anomaly score {cite:p}`mueller2021acoustic`.
# :::
#
# :::{admonition} Left open
# :class: open
# Strides, padding, pooling, how the decoder enlarges the maps, and whether "the Mel-spectrogram images" are in
# colour.
# :::
#
# :::{admonition} We decided
# :class: decision
# The LeNet-DCAE has the layout of an auto-encoder of Deep SVDD {cite:p}`ruff2018deep`, which has the parts that the paper
# names, enlarged from 32 to 64 pixels. The Small-DCAE halves the image three times by a stride of 2, its decoder mirrors that,
# and it has neither bottleneck nor batch normalisation. Both take the 64 × 64 colour images before they are enlarged for the image networks. Both end in a
# sigmoid, since colours lie between 0 and 1.
# :::
#
# In symbols, with an encoder $E$, a decoder $D$ and an image $x$ of 3 colours and 64 × 64 pixels:
#
# $$
# \mathcal F(x) = \frac{1}{3 \cdot 64 \cdot 64} \sum_{c,\,i,\,j} \bigl( x_{cij} - D(E(x))_{cij} \bigr)^2 .
# $$
#
# The same number, averaged over a batch of images of normal sound, is the loss.

# %% [markdown]
# ## The images
#
# The training images of one machine ID are the patches of its normal training clips in colour, with values between 0 and 1. They have the shape (images, colours,
# mel bands, frames).

# %%
import numpy as np

from mimii_lib.imaging import rgb_patches

machine_id, seed = run.ids[0], run.results.seeds("lenet-dcae")[0]
train_clips = run.recordings.split_clips(machine_id, seed, "train")
patches = run.patches(machine_id, seed)  # (clips, patches, bands, frames)
images = rgb_patches(
    np.concatenate(patches[train_clips.index]), run.settings.imaging
)
images.shape

# %% [markdown] tags=["once"]
# ## The LeNet-DCAE, layer by layer
#
# A step down is a convolution, a batch normalisation, an ELU and a pooling that halves the image. A step up mirrors it: enlarge the image to twice its sides, then deconvolve.

# %% tags=["once"]
from torch import nn


def down(n_in, n_out):
    return (
        nn.Conv2d(n_in, n_out, 5, padding=2, bias=False),
        nn.BatchNorm2d(n_out, eps=1e-4, affine=False),
        nn.ELU(),
        nn.MaxPool2d(2),
    )


def up(n_in, n_out):
    return (
        nn.BatchNorm2d(n_in, eps=1e-4, affine=False),
        nn.ELU(),
        nn.Upsample(scale_factor=2),
        nn.ConvTranspose2d(n_in, n_out, 5, padding=2, bias=False),
    )


# %% [markdown] tags=["once"]
# The encoder takes three steps down, from 64 × 64 to 8 × 8, and ends in the bottleneck of 128 numbers. The decoder reads them as two maps of 8 × 8.


# %% tags=["once"]
class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            *down(3, 32),
            *down(32, 64),
            *down(64, 128),
            nn.Flatten(),
            nn.Linear(128 * 8 * 8, 128, bias=False),
            nn.BatchNorm1d(128, eps=1e-4, affine=False),
        )
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (2, 8, 8)),
            nn.ELU(),
            nn.ConvTranspose2d(2, 128, 5, padding=2, bias=False),
            *up(128, 64),
            *up(64, 32),
            *up(32, 3),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


# %% [markdown] tags=["once"]
# Convolutions and deconvolutions start from Xavier's initial weights, drawn with the seed, the linear layer and all of the Small-DCAE from
# PyTorch's default. There is no weight decay and no schedule of the learning rate.

# %% tags=["once"]
import torch


def new_network(seed):
    torch.manual_seed(seed)
    network = LeNet()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
    return network


network = new_network(seed)
f"{sum(weight.numel() for weight in network.parameters()):,} parameters"

# %% [markdown] tags=["once"]
# Is that the network of the book's results? The library's computes the same in fewer steps: it pools before the ELU, and it adds up the weights of a deconvolution that fall on the
# same small pixel. So we compare numbers of parameters, and outputs for the same weights.

# %% tags=["once"]
from torch.nn.functional import interpolate

from mimii_lib import autoencoders

torch.manual_seed(seed)
theirs = autoencoders.LeNetDCAE()
assert [weight.shape for weight in network.parameters()] == [
    weight.shape for weight in theirs.parameters()
]
assert all(map(torch.equal, network.parameters(), theirs.parameters()))

sample = interpolate(images[:16], (64, 64))
with torch.no_grad():
    by_hand, by_library = network(sample), theirs(sample)
assert torch.allclose(by_hand, by_library, atol=1e-5)

# %% [markdown] tags=["once"]
# Both start from the same weights, and both reconstruct the same images up to the rounding of single precision. (`interpolate` matters only in a run whose images are not 64 × 64.)
#
# ## An epoch of training
#
# **Predict, then check.** A network that always returned a half would have a certain loss. Is the loss of the untrained network lower or higher?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
always_half = ((images - 0.5) ** 2).mean()
untrained = ((by_hand - sample) ** 2).mean()
f"always a half: {always_half:.3f}, the untrained network: {untrained:.3f}"

# %% [markdown] tags=["once"]
# Training takes the images in a random order, batch by batch, and takes a step of Adam for each. One pass over all images is an epoch.

# %% tags=["once"]
ours = run.settings.autoencoders
order = torch.Generator().manual_seed(seed)
optimiser = torch.optim.Adam(network.parameters(), lr=ours.learning_rate)
shuffled = torch.randperm(len(images), generator=order)
losses, sizes = [], []
for batch in shuffled.split(ours.batch_size):
    if len(batch) > 1:  # batch normalisation needs two images
        batch_images = interpolate(images[batch], (64, 64))
        loss = ((network(batch_images) - batch_images) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        sizes.append(len(batch))

# %% tags=["once"] mystnb={"figure": {"caption": "The loss of each batch in the epoch above."}, "image": {"alt": "The mean squared error of the batches of one epoch, from the first to the last"}}
figures.loss_curves({"LeNet-DCAE": losses}, step="batch")

# %% tags=["remove-cell", "once"]
from myst_nb import glue

glue("first_loss", losses[0], display=False)
glue("last_loss", losses[-1], display=False)

# %% [markdown] tags=["once"]
# The loss falls from {glue:text}`first_loss:.3f` to {glue:text}`last_loss:.3f`. The library's network has gone through the same epoch: the same weights, order and steps.
# Rounding differences grow with every step, so we compare the mean loss to one per cent.

# %% tags=["once"]
same_settings = (
    "lenet-dcae" in run.results.autoencoders
    and images.shape[1:] == (3, 64, 64)
    and (ours.channels, ours.precision) == (3, "float32")
)
if same_settings:
    fitted = run.fit(machine_id, None, "lenet-dcae", seed)
    mean_loss = np.average(losses, weights=sizes)
    assert np.isclose(mean_loss, fitted.losses_[0], rtol=0.01)

# %% [markdown] tags=["once"]
# Last, the score. With the weights of the library's trained network, does the mean squared error of our network give the kept scores of the test
# patches? (`eval` lets batch normalisation use the means and variances that it gathered in training, so that an image's score does not depend on the batch.)


# %% tags=["once"]
def tensors(network):
    return [*network.parameters(), *network.buffers()]


test_clips = run.recordings.split_clips(machine_id, seed, "test")
if same_settings:
    pairs = zip(tensors(network), tensors(fitted.net_), strict=True)
    clip = rgb_patches(patches[test_clips.index[0]], run.settings.imaging)
    with torch.no_grad():
        for own, trained in pairs:
            own.copy_(trained)
        errors = ((network.eval()(clip) - clip) ** 2).mean((1, 2, 3))
    kept = run.scores(machine_id, None, "lenet-dcae", seed)
    assert np.allclose(errors, kept[0], rtol=1e-3)

# %% [markdown] tags=["once"]
# ## The Small-DCAE
#
# The small network is a list of six layers with ReLUs between them. A stride of 2 takes the place of the pooling.

# %% tags=["once"]
small = nn.Sequential(
    *(nn.Conv2d(3, 12, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.Conv2d(12, 24, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.Conv2d(24, 48, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.ConvTranspose2d(48, 24, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.ConvTranspose2d(24, 12, 4, stride=2, padding=1), nn.ReLU()),
    *(nn.ConvTranspose2d(12, 3, 4, stride=2, padding=1), nn.Sigmoid()),
)
theirs = autoencoders.SmallDCAE()
small.load_state_dict(theirs.state_dict())
with torch.no_grad():
    assert torch.allclose(small(sample), theirs(sample))
f"{sum(weight.numel() for weight in small.parameters()):,} parameters"

# %% [markdown] tags=["once"]
# It has no bottleneck layer: its code is 48 maps of 8 × 8, a quarter as many numbers as the image has. From here on we use the library's networks.

# %% [markdown]
# ## Training

# %%
names = run.results.autoencoders or ["small-dcae"]
fits = {name: run.fit(machine_id, None, name, seed) for name in names}
losses = {tables.NAMES[name]: fits[name].losses_ for name in names}

# %% tags=["remove-cell"]
from myst_nb import glue

from mimii_lib.settings import Autoencoders

paper = Autoencoders()
glue("training", run.results.training, display=False)
glue("batch_size", run.settings.autoencoders.batch_size, display=False)
glue("paper_training", f"{paper.epochs} epochs and five seeds", display=False)
glue("paper_batch_size", paper.batch_size, display=False)
glue("n_patches", len(images), display=False)

# %% [markdown]
# The networks of this run were trained for **{glue:text}`training`**, in batches of {glue:text}`batch_size` of
# {glue:text}`n_patches` images; the paper trains for {glue:text}`paper_training` in batches of {glue:text}`paper_batch_size`.

# %% mystnb={"figure": {"caption": "The training loss, epoch by epoch. A curve that still falls at its end was stopped early."}, "image": {"alt": "The mean squared error of each auto-encoder against the epoch"}}
figures.loss_curves(losses)

# %% [markdown]
# **Predict, then check.** A network that reconstructs the same image whatever it is given does best with the mean of the training images. Have the networks done better than
# that by the end of their training?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
of_mean = ((images - images.mean(dim=0)) ** 2).mean().item()
last = {name: round(values[-1], 4) for name, values in losses.items()}
{"mean image": round(of_mean, 4)} | last

# %% [markdown]
# :::{dropdown} Interpretation
# A network with a larger loss than that of the mean image has not learned how normal images differ from each other, and its reconstructions say little. The paper's 80 epochs are
# there for that.
# :::
#
# ## What they reconstruct
#
# We take the first normal and the first abnormal test clip,

# %%
table = run.recordings.split_clips(machine_id, seed, "test")
firsts = table.drop_duplicates("label")
figures.clips(run, dict(zip(firsts.label, firsts.path, strict=True)))

# %% [markdown]
# and a patch from the middle of each.

# %% mystnb={"figure": {"caption": "A patch, what each network reconstructs, and the error of each pixel: black is none, white is the largest in the figure. Time runs to the right and frequency upwards."}, "image": {"alt": "A row for a normal and one for an abnormal patch: the patch, and for each auto-encoder its drawing and its error"}}
middle = patches.shape[1] // 2
shown = {
    f"{clip.label}, patch {middle}": patches[clip.Index, middle]
    for clip in firsts.itertuples()
}
figures.reconstructions(fits, shown, run.settings.imaging)

# %% [markdown]
# An auto-encoder learns first the brightness that all images share, then large shapes, and fine lines last. If a network reconstructs the same image for every
# patch, its score is the distance of the patch from that one image.
#
# ## How well they detect
#
# The score of a clip is the mean over its patches, as for the detectors. The AUC is the share of pairs of a normal and an abnormal test clip in which the abnormal one scores higher; guessing
# gives 50 %.

# %%
tables.auc_table(run.auc([(None, name) for name in names], [seed])).round(1)

# %% [markdown]
# AUC in percent, for one seed.

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** A baseline for the baseline: score each patch by its squared distance to the *mean* training image. Is a trained
# auto-encoder better than that?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from mimii_lib.evaluation import auc, pool

train, new = (
    run.stages.detector_inputs(machine_id, None, clips) / 255
    for clips in (train_clips, table)
)
distance = ((new - train.mean(axis=0)) ** 2).mean(axis=1)
area = auc(table.label == "abnormal", pool(distance.reshape(len(table), -1)))
f"AUC of the distance to the mean image: {area:.1%}"

# %% [markdown] tags=["once"]
# **2.** What does the error of an auto-encoder measure? Correlate it with the spread of the pixels in a patch.

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
spread = new.std(axis=1)
errors = run.scores(machine_id, None, names[0], seed).ravel()
f"correlation: {np.corrcoef(spread, errors)[0, 1]:.2f}"

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# The nearer this is to 1, the more the score measures how varied a patch is, and not whether it is strange: what is hard to reconstruct gets a high score, whether or not
# it was in the training.
# :::

# %% [markdown]
# ## Summary
#
# The auto-encoders are trained on the same clips as the detectors, but their filters have to be learned from these clips alone. The [next
# page](06_results.ipynb) compares all systems.
