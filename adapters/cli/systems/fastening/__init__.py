"""`scaup torque`: the console of guided fastening."""
