"""What people read: statements worked out from public facts alone."""
