"""What guests run: their state out as one stream and in again, and on the backup's guest all that is kept.

It is copied to guests as the package `hearth_backup`. So: the standard library of Python 3.11 only, and
imports from within this folder only.
"""
