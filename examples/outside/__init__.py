"""Jobs of other tools, as they were and as they are with the ledger: three lines each."""
