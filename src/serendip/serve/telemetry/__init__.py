"""What a service tells of itself: messages, metrics and traces."""
