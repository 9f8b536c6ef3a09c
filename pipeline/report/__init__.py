"""The report of one run: `report.json` for programs, `report.html` for people."""
