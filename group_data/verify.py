"""What tests/verify may use of your home to prove the data flows.

A flow whose devices are not named here is skipped.
"""

# A sensor whose reports are awaited, as Home Assistant calls it: "sensor.hallway_temperature".
verify_sensor: str | None = None

# A light, and another switchable thing, that may be switched for a moment; each is put back as it was.
verify_light: str | None = None
verify_switch: str | None = None

# Seconds that a report, a switched light or a notification may take. A battery sensor reports when it likes:
# give it an hour, or breathe on it.
verify_patience = 60

# Commands instead of hands and eyes, where devices are simulated. `{value}` is what the sensor is to measure;
# the second prints the light's own state as JSON, {"on": true}.
verify_measure: list[str] | None = None
verify_look: list[str] | None = None

# What the sensor must measure to set off the third flow's automation, and to be calm again.
verify_alarm = 30.0
verify_calm = 20.0

# The phone that is registered for the check, and taken away again.
verify_phone = "hearth verify"
