"""What a run leaves behind: JSON for programs, Markdown for a review, and one HTML file with pictures for people.

    document    a run in JSON's own types, which the others are made of; what a report must say
    stored      a report that was written, read back to be compared
    comparison  two runs, figure by figure
    markdown    tables
    page        the HTML file, with everything in it
    charts      CMC and histograms, as SVG
    matches     queries with their best matches, right and wrong ones framed
    thumbnails  pictures small enough to be in a page
    writing     the files of a report

Trap: a figure without its model, space, protocol and distance is a rumour. Every form has them at its top.
"""

from .comparison import Comparison, compare_reports
from .document import document
from .markdown import markdown
from .page import page
from .stored import StoredRun, read_report
from .writing import check_folder, write_report

__all__ = [
    "Comparison",
    "StoredRun",
    "check_folder",
    "compare_reports",
    "document",
    "markdown",
    "page",
    "read_report",
    "write_report",
]
