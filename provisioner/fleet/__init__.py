"""The hardware: inventory, enrolment, servers and what operators ask of them."""
