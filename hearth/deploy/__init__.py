"""The steps of deploy.py: the node, the guests, their roles."""
