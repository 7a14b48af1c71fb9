"""Backups of a workspace: a folder of files and a manifest with their checksums."""
