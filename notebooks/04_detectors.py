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
# (detectors-{machine})=
# # Detectors: {machine}
#
# The network has turned every patch of the {machine}'s sound, 64 frames of its spectrogram, into a vector of features. A **detector** is a
# statistical model of these vectors. It is fitted to the patches of normal clips of one machine ID, which is one product model of this type,
# and then states for a new patch how normal it is. This page follows the first part of §5.2 of the paper, which compares five detectors: a
# Gaussian mixture (GMM), a Bayesian Gaussian mixture (B-GMM), an isolation forest (IF), a one-class support vector machine (OC-SVM) and a
# kernel density estimate (KDE).

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
from mimii_lib.pages import figures, run_box, score_figures, tables
from mimii_lib.run import Run

recordings = {"data": data, "snr": snr, "ids": ids, "seeds": seeds}
systems = {"extractors": extractors, "detectors": detectors, "weights": weights}
run = Run(machine, profile=profile, settings=settings, **recordings, **systems)
run_box.facts([run])

# %% [markdown]
# ## Training patches and test patches
#
# We take one machine ID, one network with the detectors of this run, and one seed, which decides the split into training clips and test clips.
# A *system* is a network with a detector.

# %%
machine_id, seed = run.ids[0], run.profile.seeds[0]
extractor = run.stages.extractors[0]
table_rows = run.results.systems(extractor)

train_clips = run.recordings.split_clips(machine_id, seed, "train")
test_clips = run.recordings.split_clips(machine_id, seed, "test")
train = run.stages.detector_inputs(machine_id, extractor, train_clips)
test = run.stages.detector_inputs(machine_id, extractor, test_clips)
train.shape, test.shape

# %% tags=["remove-cell"]
from myst_nb import glue

glue("id_seed", f"{machine_id}, seed {seed}", display=False)
glue("n_train", len(train), display=False)
glue("n_train_clips", len(train_clips), display=False)
glue("n_test", len(test), display=False)
glue("n_test_clips", len(test_clips), display=False)
glue("dimension", train.shape[1], display=False)

# %% [markdown]
# A row is a patch and a column is a feature. For {glue:text}`id_seed`, {glue:text}`n_train_clips` normal clips give {glue:text}`n_train`
# training patches of {glue:text}`dimension` features, and {glue:text}`n_test_clips` clips that no detector is fitted to give
# {glue:text}`n_test` test patches.

# %% [markdown] tags=["once"]
# ## Five detectors
#
# :::{admonition} The paper says
# :class: paper
# **Isolation forest (IF)** {cite:p}`liu2008isolation`: anomalies lie where points are few, so random cuts isolate them after fewer steps.
# 128 trees.
#
# **Gaussian mixture (GMM)**: 80 Gaussians with diagonal covariances, fitted by expectation-maximisation from a k-means start, at most 150
# iterations. The log probability is the score.
#
# **Bayesian Gaussian mixture (B-GMM)**: the same with prior distributions over the parameters, fitted by variational inference. It should
# depend less on the number of components.
#
# **One-class SVM (OC-SVM)** {cite:p}`schoelkopf2000support`: the hyperplane that separates the data from the centre with the largest margin;
# ν = 10⁻⁴, since all training clips are normal.
#
# **Kernel density estimation (KDE)**: a Gaussian kernel of bandwidth 0.1 on every training point. The density is the score
# {cite:p}`mueller2021acoustic`.
# :::
#
# We build all five from scikit-learn, in the notation of [the approach](../../book/approach.md): $\mathcal F$ is the anomaly score, high
# for anomalies. The opposite, high for normal patches, is called **normality** here; it is what scikit-learn's `score_samples` returns.
#
# These four settings of the paper appear in the formulas below: $K$ components, $B$ trees, the bandwidth $h$ and $\nu$. This run uses

# %% tags=["once"]
ours = run.settings.detectors
K, B, h, nu = ours.n_components, ours.n_trees, ours.bandwidth, ours.nu
K, B, h, nu

# %% [markdown] tags=["once"]
# Where the paper is silent on a setting, an assumption stands in for it.

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show all settings of the detectors", "code_prompt_hide": "Hide the settings"}
from mimii_lib.pages.open_points import settings_table

settings_table(ours)

# %% [markdown] tags=["once"]
# ### Standardisation
#
# Before any detector, each feature $f_j(x)$ of a patch $x$ is shifted and scaled by its mean $\mu_j$ and standard deviation $\sigma_j$ over the $N$
# training patches:
#
# $$
# z_j = \frac{f_j(x) - \mu_j}{\sigma_j}, \qquad j = 1, \dots, d.
# $$
#
# We convert to double precision first: scikit-learn's mixtures compute in the precision of their input.

# %% tags=["once"]
import numpy as np
from sklearn.preprocessing import StandardScaler

scaler = StandardScaler().fit(train.astype(np.float64))
z_train = scaler.transform(train.astype(np.float64))
z_test = scaler.transform(test.astype(np.float64))

# %% [markdown] tags=["once"]
# The results of this book are computed by `mimii_lib.detectors`. Does it give the scores that we compute here? A function compares them; a run with other settings
# than those above, such as a variance floor or PCA, skips the comparison.

# %% tags=["once"]
from mimii_lib.settings import Detectors

shown_here = Detectors(n_components=K, n_trees=B, bandwidth=h, nu=nu)


def same_as_library(normality, detector):
    kept = run.scores(machine_id, extractor, detector, seed).ravel()
    return np.allclose(-normality, kept, rtol=1e-6) or ours != shown_here


# %% [markdown] tags=["once"]
# ### Gaussian mixture
#
# A mixture of $K$ Gaussians models the density of the training patches at $z$. With diagonal covariances a Gaussian is a product over the
# features:
#
# $$
# \begin{gathered}
# p(z) = \sum_{k=1}^{K} \pi_k \prod_{j=1}^{d} \mathcal N\bigl(z_j;\, m_{kj},\, s_{kj}^2\bigr), \\
# \mathcal F = -\log p(z).
# \end{gathered}
# $$
#
# Here $\pi_k$ is the weight of component $k$, and the weights sum to 1; $m_{kj}$ and $s_{kj}^2$ are its mean and its variance in feature $j$.
# Expectation-maximisation starts from k-means clusters and repeats two steps: assign each patch to the components in proportion to
# their densities at the patch, then compute weights, means and variances anew from these shares.

# %% tags=["once"]
import warnings

from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

# The limit of 150 iterations ends some fits early, as the paper intends.
warnings.simplefilter("ignore", ConvergenceWarning)
gmm = GaussianMixture(
    K, covariance_type="diag", max_iter=150, random_state=seed
).fit(z_train)
assert same_as_library(gmm.score_samples(z_test), "gmm")

# %% [markdown] tags=["once"]
# The assertion holds: these are the scores that the results rest on. Now the formula itself, for the first test patch. A product of so many densities underflows, so we add
# their logarithms.

# %% tags=["once"]
from scipy.special import logsumexp
from scipy.stats import norm

z = z_test[0]
densities = norm.logpdf(z, gmm.means_, np.sqrt(gmm.covariances_))  # (K, d)
log_p = logsumexp(np.log(gmm.weights_) + densities.sum(axis=1))
assert np.isclose(log_p, gmm.score_samples([z])[0])
f"log p(z) = {log_p:,.1f}"

# %% [markdown] tags=["once"]
# **Predict, then check.** {glue:text}`n_train` training patches are shared among the components. How many components hold no more than one
# patch, and what standard deviation does a feature have in such a component? In all training patches together it is 1.

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
sizes = np.bincount(gmm.predict(z_train), minlength=K)
narrowest = np.sqrt(gmm.covariances_.min())
f"{(sizes <= 1).sum()} of {K}; smallest standard deviation {narrowest:.3f}"

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# The variances of one point are 0. scikit-learn adds `reg_covar` = 10⁻⁶ to every variance, which leaves a standard deviation of 0.001.
# Such a component gives almost no density to a new patch, whose score then depends on the few components that hold many patches. With the
# training clips of whole MIMII a component holds many more patches.
# :::
#
# ### Bayesian Gaussian mixture
#
# The density is the same, but weights, means and variances now have distributions. A prior over the weights, here a Dirichlet process, favours few
# components; variational inference fits a distribution $q$ of all parameters. The score replaces the logarithms in the mixture by their
# expectations under $q$:
#
# $$
# \begin{gathered}
# \mathcal F = -\log \sum_{k=1}^{K} \exp \mathbb E_q \bigl[ \ell_k(z) \bigr], \\
# \ell_k(z) = \log \pi_k + \sum_{j=1}^{d} \log \mathcal N\bigl(z_j;\, m_{kj},\, s_{kj}^2\bigr).
# \end{gathered}
# $$

# %% tags=["once"]
from sklearn.mixture import BayesianGaussianMixture

b_gmm = BayesianGaussianMixture(
    n_components=K, covariance_type="diag", max_iter=150, random_state=seed
).fit(z_train)
assert same_as_library(b_gmm.score_samples(z_test), "b-gmm")
f"{(b_gmm.weights_ > 1 / len(z_train)).sum()} of {K} components"

# %% [markdown] tags=["once"]
# These components have more weight than a single patch gives, 1/N. A strong prior would leave few of them.
#
# ### Isolation forest
#
# Each tree draws $\psi$ training patches (256, or all if there are fewer) and cuts them at random: a random feature, a random threshold. A patch in a sparse
# region is isolated after few cuts. A tree stops after $\log_2 \psi$ cuts, rounded up, or earlier where a patch is alone; for $m$ patches that are still together it adds
# the $c(m)$ cuts that separating them would take on average. With the mean number of cuts over $B$ trees, $\bar c(z)$, the score is
#
# $$
# \begin{gathered}
# \mathcal F = 2^{-\bar c(z) / c(\psi)}, \\
# c(\psi) \approx 2\bigl(\ln(\psi - 1) + 0.577\bigr) - \frac{2(\psi - 1)}{\psi}.
# \end{gathered}
# $$
#
# It lies between 0 and 1.

# %% tags=["once"]
from sklearn.ensemble import IsolationForest

forest = IsolationForest(n_estimators=B, random_state=seed).fit(z_train)
normality = forest.score_samples(z_test)
assert same_as_library(normality, "if")

# %% [markdown] tags=["once"]
# The formula, solved for the mean number of cuts, shows what the forest measures, here averaged over the test patches of each label:

# %% tags=["once"]
import pandas as pd

psi = forest.max_samples_
c = 2 * (np.log(psi - 1) + np.euler_gamma) - 2 * (psi - 1) / psi
cuts = -c * np.log2(-normality)

labels = test_clips.label.repeat(len(test) // len(test_clips))
pd.Series(cuts).groupby(labels.to_numpy()).mean().round(1).to_frame("cuts")

# %% [markdown] tags=["once"]
# The numbers exceed $\log_2 \psi$ because they include $c(m)$. The fewer cuts isolate the patches of abnormal clips, compared with those of
# normal clips, the better the forest detects them.
#
# ### One-class SVM
#
# A kernel is an inner product, $k(z, z') = \langle \varphi(z), \varphi(z') \rangle$, where $\varphi$ maps vectors to another space. In that space the OC-SVM looks for the hyperplane
# that separates the training patches $z_1, \dots, z_N$ from the **origin** with the largest margin:
#
# $$
# \begin{gathered}
# \min_{w,\,\rho,\,\xi \ge 0}\; \tfrac12 \lVert w \rVert^2 - \rho + \frac{1}{\nu N} \sum_{i=1}^{N} \xi_i \\
# \text{such that}\quad \langle w, \varphi(z_i) \rangle \ge \rho - \xi_i .
# \end{gathered}
# $$
#
# In the space of $\varphi$ the boundary is a plane. In the space of the features it encloses a bounded region, because of the Gaussian kernel
# $k(z, z') = \exp(-\gamma \lVert z - z' \rVert^2)$: a vector far from all training patches is mapped to one that is orthogonal to all of theirs. The score is a weighted sum of kernels,
#
# $$
# \begin{gathered}
# \mathcal F = -\sum_{i=1}^{N} \alpha_i\, k(z_i, z), \\
# 0 \le \alpha_i \le 1, \qquad \sum_{i=1}^{N} \alpha_i = \nu N .
# \end{gathered}
# $$
#
# Patches with $\alpha_i > 0$ are the *support vectors*. The scale is scikit-learn's: $\gamma = 1 / (d \operatorname{var} z)$, with the variance over all numbers in the training
# patches.

# %% tags=["once"]
from sklearn.svm import OneClassSVM

svm = OneClassSVM(kernel="rbf", gamma="scale", nu=nu).fit(z_train)
assert same_as_library(svm.score_samples(z_test), "oc-svm")

gamma = 1 / (z_train.shape[1] * z_train.var())
kernel = np.exp(-gamma * ((svm.support_vectors_ - z) ** 2).sum(axis=1))
assert np.isclose(svm.dual_coef_[0] @ kernel, svm.score_samples([z])[0])
f"{len(svm.support_)} support vectors, νN = {nu * len(z_train):.3f}"

# %% [markdown] tags=["once"]
# At most a share $\nu$ of the training patches may lie on the side of the origin. With $\nu N < 1$ none may.
#
# **Predict, then check.** One test patch lies far from all training patches, another ten times as far. How much do their OC-SVM scores differ?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
direction = z / np.linalg.norm(z)
lengths = np.sqrt(z_train.shape[1]) * np.array([1, 3, 10, 100])
scores = -svm.score_samples(lengths[:, None] * direction) / svm.offset_
pd.DataFrame({"length of z": lengths, "score / ρ": scores}).round(4)

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# A standardised training patch has a length of about $\sqrt d$, that of the first row. On the hyperplane, $\mathcal F = -\rho$; far from all training patches every kernel is 0, so that
# $\mathcal F = 0$ is the largest score that there is. Beyond some distance it is reached, and farther patches score the same.
# :::
#
# How many of the test patches have reached it? We count those that are within a hundredth of $\rho$.

# %% tags=["once"]
at_limit = svm.score_samples(z_test) < 0.01 * svm.offset_[0]
saturated = pd.Series(at_limit).groupby(labels.to_numpy()).mean()
(100 * saturated).round(1).to_frame("saturated (%)")

# %% tags=["remove-cell", "once"]
glue("saturated_normal", float(saturated["normal"]), display=False)
glue("saturated_abnormal", float(saturated["abnormal"]), display=False)

# %% [markdown] tags=["once"]
# :::{admonition} We found
# :class: finding
# **The OC-SVM saturates.** {glue:text}`saturated_abnormal:.0%` of the patches of abnormal test clips and {glue:text}`saturated_normal:.0%` of those of
# normal ones have reached the largest score. They count as equally anomalous, however far they lie from the training patches. The line of such scores over
# time is flat, and so is a map of the regions that a score depends on ([Explaining a decision](../decisions.ipynb)).
# :::
#
# ### Kernel density estimation
#
# A Gaussian of width $h$ stands on each training patch; the density is their mean:
#
# $$
# p(z) = \frac1N \sum_{i=1}^{N} \frac{1}{(h\sqrt{2\pi})^{d}} \exp\Bigl(-\frac{\lVert z - z_i \rVert^2}{2h^2}\Bigr).
# $$
#
# **Predict, then check.** The paper takes $p(z)$ itself as normality, with $h$ = 0.1. What is $p(z)$ for the test patches, in double precision?

# %% tags=["once"]
from sklearn.neighbors import KernelDensity

# All patches in one leaf: bounds between leaves would round the logarithm.
kde = KernelDensity(bandwidth=h, leaf_size=len(z_train)).fit(z_train)
log_p = kde.score_samples(z_test)

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show the answer", "code_prompt_hide": "Hide the answer"}
f"largest log p: {log_p.max():,.0f}; largest p: {np.exp(log_p.max()):g}"

# %% tags=["remove-cell", "once"]
glue("largest_log", f"{log_p.max():,.0f}".replace("-", "−"), display=False)
glue("largest_density", f"{np.exp(log_p.max()):g}", display=False)

# %% [markdown] tags=["once"]
# The library computes the distances as matrix products, which is faster and rounds differently. The scores agree to six digits:

# %% tags=["once"]
assert same_as_library(log_p, "kde")

# %% [markdown] tags=["once"]
# :::{admonition} We found
# :class: finding
# **The density of this KDE is zero in floating point.** The largest logarithm of a test patch's density is {glue:text}`largest_log`; the largest density, in double precision, is
# {glue:text}`largest_density`. With the density as the score, every patch would score the same.
# :::
#
# :::{admonition} We decided
# :class: decision
# The score is minus the *logarithm* of the density, as for the mixtures.
# :::
#
# In the logarithm, the largest term of the sum decides. The others add at most $\log N$:
#
# $$
# \begin{gathered}
# b \;\le\; -\log p(z) \;\le\; b + \log N, \\
# b = \frac{1}{2h^2} \min_i \lVert z - z_i \rVert^2 + d \log(h\sqrt{2\pi}) .
# \end{gathered}
# $$

# %% tags=["once"]
from sklearn.neighbors import NearestNeighbors

nearest = NearestNeighbors(n_neighbors=1).fit(z_train)
distance = nearest.kneighbors(z_test)[0][:, 0]
N, d = z_train.shape
b = distance**2 / (2 * h**2) + d * np.log(h * np.sqrt(2 * np.pi))
assert np.allclose(-log_p, b, rtol=1e-6, atol=np.log(N))
f"log N is {np.log(N):.1f}; the scores range over {np.ptp(log_p):,.0f}"

# %% [markdown] tags=["once"]
# So the score of a patch is the squared distance to its nearest training patch, up to the factor $1/(2h^2)$, a constant, and at most
# $\log N$: at this bandwidth KDE is a **nearest-neighbour detector**. The range of the scores is large because of
# [features that hardly vary in training](03_feature_extraction.ipynb), which make some distances very long.

# %% [markdown]
# ## The scores of two clips
#
# The library's scores have a row for each test clip and a column for each of its patches. We take the first system of this run.

# %%
scores = run.scores(machine_id, *table_rows[0], seed)
scores.shape

# %% [markdown]
# Equation {eq}`eq-mean-pooling` takes the mean over the patches. We look at the most anomalous of the abnormal clips and at the most normal of the normal ones.

# %%
table = test_clips.reset_index(drop=True).assign(score=scores.mean(axis=1))
by_label = table.groupby("label").score
shown = {
    "abnormal clip with the highest score": by_label.idxmax()["abnormal"],
    "normal clip with the lowest score": by_label.idxmin()["normal"],
}
figures.clips(
    run,
    {caption: table.path[row] for caption, row in shown.items()},
    {caption: scores[row] for caption, row in shown.items()},
)

# %% tags=["remove-cell"]
glue("system", tables.name_of(table_rows[0]), display=False)

# %% [markdown]
# The line with dots is the score of each patch by {glue:text}`system`, drawn at the middle of the patch; the orange line is their mean, the score of
# the clip. Compare the scales of the two axes: each has its own.
#
# ## All test clips, all detectors
#
# The detectors' scores have different units. To compare them, the test clips are placed by rank.

# %% mystnb={"figure": {"caption": "The test clips in the order of their scores, a line for each detector. In a perfect line every cross lies to the right of every dot."}, "image": {"alt": "A line for each detector: normal test clips as blue dots and abnormal ones as orange crosses, placed by the rank of their scores"}}
score_figures.strips(run, machine_id, table_rows, seed)

# %% [markdown]
# A perfect detector would have all crosses to the right of all dots. The **area under the ROC curve** (AUC) measures how close a detector comes to it: it is the share
# of pairs, one normal and one abnormal clip, in which the abnormal clip has the higher score. Guessing gives 50 %.

# %%
tables.auc_table(run.auc(table_rows, [seed])).round(1)

# %% [markdown]
# AUC in percent, for one seed. [Results](06_results.ipynb) computes one by hand.

# %% [markdown] tags=["once"]
# ## Score and distance
#
# What does each detector do with a patch that is unlike all training patches? The next figure draws its score against its distance to the nearest training
# patch. The distance has a logarithmic axis, and so have large scores.

# %% tags=["once"] mystnb={"figure": {"caption": "Anomaly score of each test patch against its distance to the nearest training patch, a panel for each detector. The distance is between standardised features, in standard deviations of a training feature; scores have the detector's own unit. Dots: patches of normal clips; crosses: of abnormal ones."}, "image": {"alt": "A scatter plot for each detector: the anomaly scores of test patches over their distance to the nearest training patch"}}
score_figures.by_distance(run, machine_id, table_rows, seed)

# %% [markdown] tags=["once"]
# KDE gives a straight line of slope 2, the squared distance, since both of its axes are logarithmic. The marks of the OC-SVM end in a level line: it does not distinguish unusual patches from more unusual ones. That does no harm to the AUC as
# long as normal patches stay below the line.

# %% [markdown] tags=["once"]
# ## Exercises
#
# **1.** At which bandwidth does KDE stop being a nearest-neighbour detector? For several $h$, compute the share of the largest term in the sum of $p(z)$.

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from scipy.special import softmax
from sklearn.metrics import euclidean_distances

squared = euclidean_distances(z_test, z_train, squared=True)
shares = {}
for width in (0.1, 1, 5, 20):
    terms = softmax(-squared / (2 * width**2), axis=1)
    shares[width] = terms.max(axis=1).mean()
pd.Series(shares).round(3).to_frame("largest term")

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# 1 means that a single training patch makes up the density, $1/N$ that all count alike. Distances between patches are far larger than a bandwidth of 0.1.
# :::
#
# **2.** The mean over patches hides a short knock among many quiet patches. Take the maximum instead of the mean. Which detectors gain?

# %% tags=["hide-cell", "once"] mystnb={"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
from mimii_lib.evaluation import auc

aucs_by_pooling = {}
for system in table_rows:
    of_system = run.scores(machine_id, *system, seed)
    pooled = {"mean": of_system.mean(axis=1), "max": of_system.max(axis=1)}
    aucs_by_pooling[tables.name_of(system)] = {
        pooling: 100 * auc(table.label == "abnormal", scores_of_clips)
        for pooling, scores_of_clips in pooled.items()
    }
pd.DataFrame.from_dict(aucs_by_pooling, orient="index").round(1)

# %% [markdown] tags=["once"]
# :::{dropdown} Interpretation
# Where a fault is short, as on a valve that sticks now and then, the maximum has the better chance; where it lasts, the mean
# varies less. One seed of one machine ID is no evidence: [the choices](../choices.ipynb) compare more.
# :::

# %% [markdown]
# ## Summary
#
# Five detectors describe the normal patches of a {machine} and score new ones. The next page has [two auto-encoders](05_dcae_baselines.ipynb), which learn
# from the images themselves.
