"""Model parts that several services share: a linear tier, an encoder tier, and their calibration.

No torch, no transformers: what is here runs on numpy, onnxruntime and tokenizers alone.
"""
