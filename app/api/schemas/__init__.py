"""The wire forms, one file a noun."""
