"""`python bootstrap.py`: run with root, it gives Hearth its own user, token, rights and key, and no more."""
