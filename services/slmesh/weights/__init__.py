"""Weights: where pretrained files come from, and what is compiled from them.

``sources`` lists the files with their digests, ``fetch`` gets and verifies them, ``compile`` makes
the ONNX files that serving reads. Nothing here knows a service or a task.
"""
