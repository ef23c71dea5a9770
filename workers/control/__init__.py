"""Control: the control socket, beats and the watchdog, reloads."""
