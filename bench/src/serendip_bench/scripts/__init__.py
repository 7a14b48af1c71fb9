"""Single measurements, run as scripts; usage is in the docstring of each."""
