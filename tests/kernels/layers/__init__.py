"""Tests of the layer kernels."""
