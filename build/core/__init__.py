"""What every room uses: errors, progress, pages, plots, and the checks of what comes from outside."""
