"""The version of this release."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("scaup")
except PackageNotFoundError:  # run from a checkout that was never installed
    VERSION = "0+unknown"
