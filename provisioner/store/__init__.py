"""Tables, sessions, row claims and migrations; `schema.sql` is the same schema in SQL."""
