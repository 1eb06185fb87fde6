"""The command line: starts the processes, looks after the local PostgreSQL and Synapse, makes demo people."""
