"""Error codes of MID 0004 that matter to this adapter (specification R 2.16.0, table 20)."""

NO_SUCH_RESULT = 15
SUBSCRIBED_ALREADY = 9
FINAL = frozenset({9, 15, 16, 27, 35, 59, 73, 75, 92, 95, 96, 99})
"""Refusals that do not depend on the revision. Any other one is a reason to ask in another revision: 74, 76 and 97 are meant
for that, but tools also send others."""
UNKNOWN_MID = frozenset({73, 75, 99})
"""A tool without a remote lock does not know how to be disabled and enabled; it is always enabled."""

ERRORS = {
    1: "invalid data",
    2: "there is no such parameter set",
    3: "the parameter set cannot be selected",
    4: "the parameter set is not running",
    9: "the results are subscribed already",
    15: "there is no such result",
    16: "busy: it has too many connections",
    27: "the tool is not accessible",
    29: "there is no tool",
    35: "another client controls it",
    36: "this kind of lock is not supported",
    59: "the tool is in use",
    74: "this revision is not supported",
    76: "this revision is not supported",
    79: "the command failed",
    92: "commands are disabled",
    95: "the tool is in manual mode",
    96: "another client is connected",
    97: "this revision is not supported",
    98: "its own request timed out",
    99: "unknown message",
}
