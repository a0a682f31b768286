"""Ironlease's central daemon: provisions bare-metal GPU servers and rents them out."""
