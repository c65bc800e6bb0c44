"""The Mosquitto launcher: configuration, access file and password file."""
