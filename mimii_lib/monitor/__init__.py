"""Your own machine: from a folder of recordings of normal sound to a detector with calibrated p-values.

==========================================  =================================================================
:class:`mimii_lib.monitor.model.Monitor`    fit, check, score, save and load: ``from mimii_lib import Monitor``
:mod:`mimii_lib.monitor.results`            what they return
:mod:`mimii_lib.monitor.recordings`         finding, reading, resampling recordings and cutting them into windows
:mod:`mimii_lib.monitor.archive`            the model file
:mod:`mimii_lib.monitor.commands`           ``mimii fit``, ``mimii check`` and ``mimii score``
==========================================  =================================================================
"""
