"""Files that many machines share: in a bucket or a shared folder, with copies on each machine.

Only this package knows where they lie. Everything else opens a ``Place``: a folder of this machine,
or a ``Mirror`` of what an object store has.
"""
