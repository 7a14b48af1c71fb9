"""The processes of a service: workers, the companion that trains and replicas.

``supervisor.py`` starts and replaces workers, ``worker_channel.py`` and ``shared_state.py`` are
what they share.
"""
