"""What requests are answered from and follows the store between two trainings."""
