"""Real data, trained with and without privacy: `python -m examples.training digits`."""
