"""What operators watch: Prometheus series. Nothing here decides anything."""
