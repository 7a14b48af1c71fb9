"""Settings of a workspace: the tables of ``serendip.toml``.

``settings.py`` has them all; models, the service and the storage have a file each. Surfaces are
described by ``engine/stages/surfaces.py``.
"""
