"""Metrics, intervals, cost and the report; reads ``Scores``, ours or anybody's."""
