"""HTTP: the gateway's page and API, an outlet; and the simulator's API."""
