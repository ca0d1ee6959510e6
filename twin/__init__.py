"""The digital twin: the home's own addresses, guests and Proxmox API on one Debian machine."""
