"""What to do with a model: schedules that know what their own trading moves."""
