"""`reidstream-client top`: which camera suffers?

command     flags to one look, or to looks until somebody leaves
flags       its flags and help
looks       two answers of the server, and the rates between them
columns     what the table may show of a session, and by what it is sorted
table       the server and its sessions, as lines
detail      one session, as lines
writing     numbers, times and foreign names as text
lines       lines with a style, cut to the screen
record      looks as JSON
live        the table on a terminal: keys, and a look every few seconds
view        what the screen shows, and what a key changes
keys        what a terminal sends for a key
terminal    a terminal that is ours for some time, and whole afterwards
"""

from .command import top

__all__ = ["top"]
