"""Phones that come in from outside: what each of them is given, and how it ends."""
