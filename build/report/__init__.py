"""The report of one experiment on one page: what a team-mate reads at one in the morning."""
