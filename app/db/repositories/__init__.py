"""Look-ups and row changes, one file a noun; no rule is decided here."""
