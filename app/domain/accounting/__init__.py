"""What a mechanism costs and whether a budget may hold it: prices, filters, plans, blocks."""
