"""Settings: what there are, where they are said, and what they come to."""
