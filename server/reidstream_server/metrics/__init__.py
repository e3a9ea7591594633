"""What operators watch: Prometheus series, and nothing that decides anything."""
