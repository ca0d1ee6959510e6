"""What is otherwise than the project says: found with GETs and facts, changed by nobody here."""
