"""Proxmox VE: reading it, planning, converging."""
