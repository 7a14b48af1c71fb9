"""The stages of a request.

``surfaces.py`` configures them per surface, ``pipeline.py`` runs them, each other file is one kind
of stage.
"""
