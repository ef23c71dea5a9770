"""The fleet: live values and history to NATS JetStream, requests from there; an outlet."""
