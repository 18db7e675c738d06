"""What a call would need, told before it is made."""
