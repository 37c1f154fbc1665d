"""Engines: what a worker runs, one per kind of job."""
