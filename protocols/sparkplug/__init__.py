"""Sparkplug B 3.0 for an edge node: values over MQTT with births, deaths and sequence numbers.

topics    where each message goes
payload   the bytes of a message, protobuf's form
edge      an edge node's session: what it says when, and what it is told
"""
