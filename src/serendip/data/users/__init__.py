"""Users: attributes, groups, profiles, and the rows of a log by user."""
