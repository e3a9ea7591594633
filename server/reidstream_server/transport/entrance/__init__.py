"""What every call passes, whatever its door: so one client cannot have at one door what another door keeps from him.

turns        when a call may go on, since its source pays for what calls cost
places       how many calls are in progress
receiving    the messages of calls, a bounded number at a time
apart        large messages, in a thread of their own
entrance     all of it together, as doors share it
"""
