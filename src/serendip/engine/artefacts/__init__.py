"""What a workspace has besides its data: generations, their records, and the erasure of all of it.

``generations.py`` publishes and opens what trainings made.
"""
