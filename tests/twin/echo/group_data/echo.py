"""What an admin may tune about echo."""

# Scheduling priority.
echo_nice = 5
