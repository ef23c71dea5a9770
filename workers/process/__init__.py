"""What every worker is: loop, beats, commands, signals, back-off, one thread that may block."""
