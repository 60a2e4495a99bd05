"""The SDSeg model: network, one-step maths, preprocessing, segmenter (the only importers of torch
are this package, evaluation, training and bench)."""
