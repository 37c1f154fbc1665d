"""Use cases own their transactions; steps take a session and never commit."""
