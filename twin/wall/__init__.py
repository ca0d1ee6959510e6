"""The Proxmox firewall, enforced: nftables from what the API stores, as pve-firewall reads it."""
