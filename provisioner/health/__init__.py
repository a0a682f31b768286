"""The health of servers: agents' reports and BMC sensors are judged, and verdicts have effects.

Nothing here moves a server: where it goes is the transition table's to say.
"""
