"""Laws: forms, fits, intervals, comparisons."""
