"""``serendip bench unified``: one model for all tasks, specialists and baselines."""
