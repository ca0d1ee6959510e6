"""What is promised of a restore, and how old a backup may be; see docs/disaster-recovery.md."""

# The roles whose services are critical, and the minutes within which they serve again.
restore_critical_roles = ["front", "front_door", "home_assistant", "mosquitto", "zigbee2mqtt"]
restore_critical_minutes = 60

# The minutes within which everything serves again.
restore_all_minutes = 240

# How old data may be: of these roles in hours (histories), and all other data (configuration).
restore_state_roles = ["postgresql"]
restore_state_hours = 168
restore_configuration_hours = 24

# Days: when the newest backup is older, restore.py refuses unless it is named by its date.
restore_oldest_days = 7
