"""Runs the command line: ``python -m slmesh.cli``."""

from slmesh.cli.app import main

if __name__ == "__main__":
    main()
