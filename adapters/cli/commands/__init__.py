"""Commands that belong to no system; those of the systems are in `adapters/cli/systems/<system>/`.

A module is a command when the first line of its docstring is ``"`scaup NAME`: Summary."``; the click command NAME in it is the
command. `adapters.cli.lazy` finds it, so nothing else is edited. Then write the reference again:
`.venv/bin/python -m adapters.cli.reference > docs/cli.md`.
"""
