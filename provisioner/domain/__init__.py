"""Pure business rules: no I/O, no clock of their own, plain values in and out."""
