"""Per-example clipping of whole layers: one door (`api`), one definition (`reference`).

`fused_cpu` is the compiled form and `plain_torch` what stands in for it; `best` picks.
"""
