"""Keyed Gaussian noise: one door (`api`), one definition (`reference`), one fast form a machine."""
