"""The reconciler: looks at a server, asks the pure rules what is due, does one step, records it."""
