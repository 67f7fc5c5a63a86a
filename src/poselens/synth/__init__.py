"""Draws data sets of articulated people performing near-identical actions."""
