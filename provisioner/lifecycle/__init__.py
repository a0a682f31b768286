"""The reconciler: reads a server, asks the pure rules what is due, runs one step, records it."""
