"""What every process knows of a plant: records of devices, groups and tags; qualities; errors."""
