"""Pure rules of the business: no I/O, no clock of their own, plain values in and out."""
