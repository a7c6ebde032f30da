"""The service of docker-compose.yml: its secrets, first steps, and rehearsal."""
