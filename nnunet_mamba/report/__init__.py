"""The report: how good predictions are, where they fail, and which of several trainers is better, on one page."""
