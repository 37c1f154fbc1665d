"""Epsilon Ledger: the service that governs privacy budgets."""
