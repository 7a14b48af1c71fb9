"""What requests are answered from and follows the store between two trainings.

``live/state.py`` puts new and changed items into the state, ``counts.py`` new events into its
counts, ``user_histories.py`` has the events of users, ``media_encoding.py`` encodes posted media.
"""
