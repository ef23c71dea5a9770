"""MQTT: journalled values to brokers, as JSON or by Sparkplug B; an outlet."""
