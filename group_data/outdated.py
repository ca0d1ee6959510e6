"""`hearth outdated`: where it asks for newer versions. For a mirror of your own write its URL."""

# PyPI (its index, PEP 691), npm's registry, GitHub's API, and Tailscale's packages.
outdated_pypi = "https://pypi.org/simple"
outdated_npm = "https://registry.npmjs.org"
outdated_github = "https://api.github.com"
outdated_tailscale = "https://pkgs.tailscale.com"
