"""Files of answers and of vectors for everybody: ``serendip recommend --batch`` and ``embed``."""
