"""`hearth doctor`: what is not as the fleet needs it, and what to type to mend it. GETs only."""
