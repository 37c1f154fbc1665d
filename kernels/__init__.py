"""Numerical kernels of private training: tensors in, tensors out; they know no service."""
