"""What tests of every layer lean on: a real PostgreSQL and a real Synapse, ended with the run."""
