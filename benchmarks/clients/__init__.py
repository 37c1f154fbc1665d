"""What benchmarks send to a running service, in processes of their own."""
