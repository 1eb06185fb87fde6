"""PostgreSQL and Synapse as `ruh up` and the tests run them: on this machine, from wheels, for one user."""
