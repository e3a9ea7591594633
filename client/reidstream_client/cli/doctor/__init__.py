"""`reidstream-client doctor`: what is wrong between this machine and a server, and what to change.

command    flags to looks, judgements, and what is printed
flags      its flags and help
gather/    looks at the server from outside, without any judgement
seen       what was seen, as values
judge/     from what was seen to findings: pure functions, one for each check
finding    a verdict, what was seen, and what to change
report     findings as text or JSON
"""

from .command import doctor

__all__ = ["doctor"]
