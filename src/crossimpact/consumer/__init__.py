"""What a live scheduler embeds: pull, verify, last known good, fallback."""
