"""What can be rented: images, server classes and their prices."""
