"""What an admin may tune about HAProxy, which stands before every web interface and is the front door."""

# Connections that one guest's HAProxy holds at once.
front_max_connections = 1000

# How long a connection may be silent, once its request has come whole: WebSockets, event streams, answers.
# (HAProxy's notation, e.g. "90s", "1h". Home Assistant's own clients say something every minute.)
front_idle = "1h"

# The same for what the front door passes on without looking, MQTT above all.
front_door_idle = "24h"

# After a reload (a renewed certificate, a new port) older connections stay with the old process, for at
# most so long.
front_drain = "24h"

# Tell browsers never to try plain HTTP again at this guest's name, for so many seconds (RFC 6797); 0: do not.
# It holds for every port of that name, and takes away the way around a certificate that is not trusted yet:
# install the fleet's CA on every device before you set it (31_536_000 is a year).
front_hsts = 0

# Redirect http://GUEST/ (port 80) to one of its interfaces: guest -> "role.port", e.g.
#   {"home-assistant": "home_assistant.web"}
# Elsewhere nothing listens on 80, and no port answers plain HTTP.
front_redirect: dict[str, str] = {}

# Ask clients for a certificate: "role.port" -> the CA's file on the guest, and "optional" or "required", e.g.
#   {"mcp_hub.web": {"ca": "/usr/local/share/ca-certificates/hearth.crt", "verify": "required"}}
# The program hears the name in X-SSL-Client-CN, where the certificate holds.
front_client_certificates: dict[str, dict[str, str]] = {}

# Whoever comes from outside the home has to show a phone's certificate (`hearth android add`), at every web
# interface that is for the LAN. False: nobody is asked; the programs' own logins are all there is.
front_demand_certificates = True

# At home are the subnets of the fleet file's networks, and these addresses or networks ("192.168.7.0/24").
front_inside: list[str] = []

# Outside although within them: subnet routers, whose address everybody from the tailnet wears, and these.
front_outside: list[str] = []

# HAProxy is restarted when it takes more memory than this (systemd.resource-control(5)).
front_memory = "256M"
