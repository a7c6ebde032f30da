"""The command line: the top floor. `cli.main` is the entry point."""
