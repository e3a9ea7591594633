"""What operators install beside a server: what scrapes it, what wakes them, what they look at. A room for each."""
