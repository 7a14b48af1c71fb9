"""What a service tells of itself: messages and metrics."""
