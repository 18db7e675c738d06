"""Nimbus, an invented cloud: hooks for the client, a transport for the pod."""
