"""Feature extractors that several networks share."""
