"""Errors of the crash test.

CrashTestError
├── Broken   something that nobody killed does not work; the text says what and where its log is
└── Skipped  this machine cannot run a cause; the text says why
"""


class CrashTestError(Exception):
    """Root of every error of the crash test."""


class Broken(CrashTestError):
    """A process that nobody killed ended, or does not do its work."""


class Skipped(CrashTestError):
    """This machine cannot run a cause."""
