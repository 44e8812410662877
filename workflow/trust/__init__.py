"""How far to believe the numbers: finished runs evaluated again under altered conditions."""
