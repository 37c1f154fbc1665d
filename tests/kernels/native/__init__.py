"""Tests of the compiled library."""
