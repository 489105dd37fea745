"""Studies: figures and tables of papers, measured again by one command each (`metagrad reproduce NAME`)."""
