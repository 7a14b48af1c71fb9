"""Until the event log is in the database: the folder of its segments."""
