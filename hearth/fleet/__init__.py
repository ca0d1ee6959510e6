"""The fleet file: model, loader, checks."""
