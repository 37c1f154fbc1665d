"""The training engine: DP-SGD on models of the registry, one record at a time (R25)."""
