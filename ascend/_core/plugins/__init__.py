"""Plugins: found once, asked through one typed method for each hook."""
