"""From committed outbox rows to messages. The database is the truth, the broker a wake-up."""
