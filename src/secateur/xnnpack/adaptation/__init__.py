"""Rewriting Keras models for XNNPACK's sparse kernels; loads Keras."""
