"""What benchmarks stand on: databases with a ledger in them, made by the service's own steps."""
