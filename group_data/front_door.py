"""What an admin may tune about the front door: the one address for everything."""

# A port that several guests serve goes to the first of them in the fleet file, to the others only while that
# one is away. Named here, it is shared among all: "role.port" -> "roundrobin", "leastconn", "source". Guests
# of one entry with `count` share what keeps no state by themselves ("source": a client stays with one guest);
# "primary" ends that.
front_door_balance: dict[str, str] = {}
