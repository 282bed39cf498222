"""Systems beside and after the paper that score a clip as a whole: front ends, back ends, and their combination.

A *clip system* describes a clip by one vector and fits a scikit-learn estimator to the vectors of normal clips:

- :mod:`mimii_lib.systems.front_ends`: levels, log-mel spectrograms and maps of networks → one vector for each clip;
- :mod:`mimii_lib.systems.back_ends`: estimators, vectors → normality; they can be used without the rest of the project;
- :mod:`mimii_lib.systems.ensemble`: several estimators, their standardised scores combined;
- :mod:`mimii_lib.systems.peer`: PyOD's audio detector, for comparison;
- :mod:`mimii_lib.systems.catalogue`: the systems by name.

:mod:`mimii_lib.systems.audio_networks` registers extractors that were trained on sound; the paper's detectors take
their features like those of the image networks.
"""
