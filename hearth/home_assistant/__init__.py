"""Home Assistant from outside: its REST and WebSocket API, and what follows from what they say."""
