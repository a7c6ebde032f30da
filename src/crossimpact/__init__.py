"""crossimpact: measure, certify and price the coupling between names traded together."""

__version__ = "0.1.0"
