"""The health of servers: judges agents' reports and BMC sensors, and applies the verdicts.

Nothing here moves a server; the transition table decides that.
"""
