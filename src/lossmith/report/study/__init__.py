"""The report of a study, or of one of its stages: a page without scripts, CSV and LaTeX tables, a trace."""
