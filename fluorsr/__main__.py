"""`python -m fluorsr` is `fluorsr`."""

from fluorsr.cli.main import main

main()
