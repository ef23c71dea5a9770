"""History for people and scripts: timestamps, .hst files, playback and queries."""
