"""Keyed Gaussian noise: one door (`api`), one cipher (`chacha20`), one fast form a machine."""
