"""From shadow to full by evidence: randomisation, statistics by day, power, stages and gates."""
