"""What a workspace has besides its data: generations, their records, and the erasure of it."""
