"""What comes next: recommenders behind one contract, and the ranker."""
