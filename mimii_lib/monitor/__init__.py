"""Your own machine: from a folder of recordings of normal sound to a detector with calibrated p-values.

:class:`mimii_lib.monitor.model.Monitor` (``from mimii_lib import Monitor``) fits, scores, saves and loads,
:mod:`mimii_lib.monitor.checking` tells whether it works, :mod:`mimii_lib.monitor.spectrum` where a sound is unusual;
:mod:`mimii_lib.monitor.results` is what they return and :mod:`mimii_lib.monitor.commands` what one types. Recordings
are read by :mod:`mimii_lib.data.own_recordings`, and :mod:`mimii_lib.data.model_file` is the file.
"""
