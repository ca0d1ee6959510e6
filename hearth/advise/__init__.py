"""Whether guests have the size that they need, from what monitoring has measured."""
