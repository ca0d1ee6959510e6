"""What the API says, done to real guests."""
