"""Errors of the crash test.

CrashTestError
├── Broken   a process that was not killed does not work; the text names it and its log
└── Skipped  this machine cannot run a cause; the text gives the reason
"""


class CrashTestError(Exception):
    """Root of every error of the crash test."""


class Broken(CrashTestError):
    """A process that was not killed has ended, or does not work."""


class Skipped(CrashTestError):
    """This machine cannot run a cause."""
