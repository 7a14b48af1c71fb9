"""Tables of the database besides items and events, one class each with its statements."""
