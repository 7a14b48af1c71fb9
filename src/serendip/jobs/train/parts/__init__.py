"""The parts of a generation: ``plan.py`` decides which of them a training builds."""
