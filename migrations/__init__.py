"""The schema's history, run in process by `app.db.migrate`."""
