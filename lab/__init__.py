"""The virtual rack, the simulated servers and the demonstration: Ironlease without hardware."""
