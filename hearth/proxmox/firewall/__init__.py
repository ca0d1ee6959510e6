"""Proxmox's firewall: what it should hold, what it holds, what differs, and the switch that makes it safe."""
