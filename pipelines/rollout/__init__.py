"""The rollout of a release: stages, daily draws, evidence from shadow and TCA, demotions."""
