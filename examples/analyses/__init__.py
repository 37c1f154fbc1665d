"""Three analyses of real tables, each figure with its error beside the true value."""
