"""Per-example clipping: one door (`api`), one definition (`reference`), one fast form a machine."""
