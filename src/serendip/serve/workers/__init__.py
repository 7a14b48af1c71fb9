"""The processes of a service.

``supervisor.py`` starts and replaces workers, ``shared_state.py`` is what they share.
"""
