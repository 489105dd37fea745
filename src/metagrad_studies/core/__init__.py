"""What every study needs. Here is what one is made of; beside it the directory on disk, the runner, plots and verdicts.

Another package adds studies of these, and names its `core.catalogue.Catalogue` in an entry point (`metagrad.studies`).
"""

from metagrad_studies.core.records import Record, Records
from metagrad_studies.core.study import Bench, Cell, Finding, Listing, Request, Study, crossed, listing

__all__ = ["Bench", "Cell", "Finding", "Listing", "Record", "Records", "Request", "Study", "crossed", "listing"]
