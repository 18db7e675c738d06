"""What a person sees while tasks run: lines, bars, or nothing."""
