"""Tests of private models."""
