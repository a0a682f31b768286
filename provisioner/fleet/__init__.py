"""The hardware: inventory, enrolment, and operators' requests on servers."""
