"""Reports: whatever runs, comparisons and studies a directory holds, as one page that needs nothing but itself."""
