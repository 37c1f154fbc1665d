"""Measurements with a bar: each prints its raw samples and fails where a must falls short."""
