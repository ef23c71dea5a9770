"""A fleet of gateways on NATS: subjects, and blocks and gaps as messages.

records   what a message of the history is, and by what it is told apart
subjects  where each goes
"""
