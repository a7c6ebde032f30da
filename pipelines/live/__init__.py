"""The live loop around `crossimpact.policy.live`: feeds, journal, outputs, levels, health."""
