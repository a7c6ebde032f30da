"""The champion against a week: statistics, their null hypothesis, alarms, verdict."""
