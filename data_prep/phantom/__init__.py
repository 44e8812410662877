"""Donors and simulated bodies: what made-up scans are made of."""
