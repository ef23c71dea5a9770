"""The bus between the processes: ZeroMQ, requests with a deadline, the way into the feed."""
