"""The database floor: engines, models, repositories. It keeps the invariants too."""
