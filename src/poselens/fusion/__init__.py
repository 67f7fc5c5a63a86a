"""Weighted score fusion, and fitting the weights. Section 3.4, Eq. 14."""
