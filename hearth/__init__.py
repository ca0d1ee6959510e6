"""Hearth: infrastructure as code for a smart home on Proxmox VE."""

__version__ = "0.1.0"
