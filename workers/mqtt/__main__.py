"""Runs an MQTT outlet: `python -m cpppod.workers.mqtt SETTINGS.json`."""

import sys

from cpppod.workers.mqtt.role import MqttOutlet
from cpppod.workers.process.worker import run_worker

if __name__ == "__main__":
    sys.exit(run_worker(MqttOutlet, sys.argv[1:]))
