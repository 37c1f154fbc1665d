"""Measurements of the kernels against plain training and against other engines."""
