"""Home Assistant: announces rooms, machines, chargers and ships by its MQTT discovery."""
