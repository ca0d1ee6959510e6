"""What an admin may tune about phones (`hearth android`); see docs/phones.md."""

# The tailnet's own domain, under which guests are found by name from anywhere, e.g. "tail1a2b.ts.net". Empty:
# phones are told the addresses at home only, which the subnet router leads to as well.
phones_tailnet_domain = ""
