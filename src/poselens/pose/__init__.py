"""Skeletons: the named joint layouts, and the estimators that find joints in pictures."""
