"""The demo: a real table and a real training set, governed from registration to refusal."""
