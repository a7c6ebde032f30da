"""Homes as earlier versions left them: small parts of them, never written again."""
